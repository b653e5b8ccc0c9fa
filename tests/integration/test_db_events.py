"""The event log on a real PostgreSQL: accepted once, read back, erased."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Connection, Engine

from services.core.addresses import Addresses
from services.db.events import (
    STORED_COLUMNS,
    InsertCounts,
    count_events,
    delete_event,
    delete_users_events,
    insert_events,
    iter_event_chunks,
    iter_events_by_time,
    read_events,
)
from services.db.items import upsert_items
from services.db.session import make_engine, raw, transaction
from services.db.users import upsert_user

START = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url, pool_size=8)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def events(*ids: str, user: str = "u", item: str | None = "i", at: datetime = START, **columns: object) -> pl.DataFrame:
    """One event a minute from `at`."""
    return pl.DataFrame(
        {
            "event_id": list(ids),
            "user_id": user,
            "item_id": pl.Series([item] * len(ids), dtype=pl.String),
            "type": "view",
            "timestamp": [at + timedelta(minutes=n) for n in range(len(ids))],
            **columns,
        }
    )


def test_new_events_are_stored_and_known_ones_are_not(connection):
    assert insert_events(connection, events("a", "b")) == InsertCounts(2, 0, 2)
    assert insert_events(connection, events("b", "c", "c")) == InsertCounts(1, 2, 1)
    assert read_events(connection, columns=["event_id"])["event_id"].to_pylist() == ["a", "b", "c"]


def test_of_events_that_share_an_id_the_first_counts(connection):
    insert_events(connection, pl.concat([events("a", dwell_ms=1), events("a", dwell_ms=2)]))
    assert read_events(connection, columns=["dwell_ms"])["dwell_ms"].to_pylist() == [1]


def test_an_id_is_unique_across_months(connection):
    insert_events(connection, events("a"))
    assert insert_events(connection, events("a", at=START + timedelta(days=90))).duplicates == 1


def test_events_of_unknown_items_are_counted_and_known_ones_are_not(connection):
    upsert_items(connection, pl.DataFrame({"item_id": ["known"], "title": ["Lamp"]}))
    frame = pl.concat([events("a", item="known"), events("b", item="new"), events("c", item=None)])
    assert insert_events(connection, frame) == InsertCounts(3, 0, 1)


def test_every_column_survives(connection):
    row = {
        "event_id": "é\\N\t",
        "user_id": "日本",
        "item_id": "i",
        "type": "review",
        "timestamp": datetime(2026, 2, 1, 0, 0, 0, 1, tzinfo=UTC),
        "session_id": "s",
        "request_id": "",
        "surface": "home",
        "position": 3,
        "dwell_ms": 2**40,
        "depth": 0.5,
        "quantity": 2,
        "price": 19.99,
        "rating": 4.5,
        "text": "a\nb\\.",
        "query": "q",
        "synthetic_time": True,
    }
    insert_events(connection, pl.DataFrame([row]))
    assert read_events(connection).to_pylist()[0] == row


def test_each_month_has_its_partition(connection):
    insert_events(connection, events("a", "b", "c"))  # 23:59, 00:00 and 00:01 UTC around the end of January
    counts = raw(connection).execute("SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1 ORDER BY 1")
    assert counts.fetchall() == [("events_2026_01", 1), ("events_2026_02", 2)]


def test_a_new_partition_does_not_lock_readers_out(engine, connection):
    insert_events(connection, events("a", at=datetime(2031, 5, 1, tzinfo=UTC)))
    with transaction(engine) as other:
        raw(other).execute("SET LOCAL lock_timeout = '2s'")
        assert count_events(other) == 0


def test_a_rolled_back_partition_is_made_again(engine):
    frame = events("later", at=datetime(2032, 5, 1, tzinfo=UTC))
    with engine.connect() as connection:
        insert_events(connection, frame)
        connection.rollback()
    with engine.connect() as connection:
        assert insert_events(connection, frame).accepted == 1
        connection.rollback()


def test_senders_who_begin_a_month_together_make_its_partition_once(engine):
    """Each waits with the partition looked up and not found, as a client's session would have it."""
    senders, months = 4, 12
    together = threading.Barrier(senders, timeout=60)

    def send(number: int) -> None:
        for month in range(months):
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
                together.wait()
                frame = events(f"{number}-{month}", at=datetime(2033, month + 1, 5, tzinfo=UTC))
                assert insert_events(connection, frame).accepted == 1
                connection.rollback()

    with ThreadPoolExecutor(senders) as pool:
        for done in [pool.submit(send, number) for number in range(senders)]:
            done.result()


def test_reading_selects_by_user_item_type_and_time(connection):
    insert_events(connection, pl.concat([events("a", "b", "c", user="u1"), events("d", user="u2", item="j")]))

    def ids(**conditions: object) -> list[str]:
        return sorted(read_events(connection, columns=["event_id"], **conditions)["event_id"].to_pylist())

    assert ids(user_ids=["u1"]) == ["a", "b", "c"]
    assert ids(item_ids=["j"]) == ["d"]
    assert ids(types=["click"]) == []
    assert ids(since=START + timedelta(minutes=1), until=START + timedelta(minutes=2)) == ["b"]
    assert ids(user_ids=[]) == []


def test_events_of_users_who_refused_are_left_out_where_that_is_asked(connection):
    for user, consent in (("no", {"personalisation": False}), ("yes", {"personalisation": True})):
        upsert_user(connection, user, consent=consent)
    for user in ("no", "yes", "unasked"):
        insert_events(connection, events(user, user=user))
    found = read_events(connection, ordered=True, consenting=True)["event_id"].to_pylist()
    assert found == ["unasked", "yes"]


def test_ordered_events_are_by_user_then_time(connection):
    insert_events(connection, events("b2", user="b", at=START + timedelta(hours=1)))
    insert_events(connection, events("a1", user="a"))
    insert_events(connection, events("b1", user="b"))
    assert read_events(connection, ordered=True)["event_id"].to_pylist() == ["a1", "b1", "b2"]


def test_chunks_hold_whole_users_and_all_events(connection):
    for n in range(7):
        insert_events(connection, events(f"{n}-a", f"{n}-b", user=f"u{n}"))
    chunks = [chunk["user_id"].to_pylist() for chunk in iter_event_chunks(connection, users_per_chunk=3)]
    assert [len(chunk) for chunk in chunks] == [6, 6, 2]
    assert [user for chunk in chunks for user in chunk] == sorted(f"u{n}" for n in range(7) for _ in "ab")


def test_chunks_leave_the_connection_free_in_between(connection):
    insert_events(connection, pl.concat([events("a", user="u1"), events("b", user="u2")]))
    assert [count_events(connection) for _ in iter_event_chunks(connection, users_per_chunk=1)] == [2, 2]


def test_events_stream_in_order_of_time(connection):
    insert_events(connection, events("late", at=START + timedelta(days=40)))
    insert_events(connection, events("early"))
    batches = list(iter_events_by_time(connection, columns=["event_id"]))
    assert [i for batch in batches for i in batch["event_id"].to_pylist()] == ["early", "late"]


def test_the_transaction_and_sequence_are_recorded(connection):
    insert_events(connection, events("a", "b"))
    table = read_events(connection, columns=STORED_COLUMNS)
    current = raw(connection).execute("SELECT pg_current_xact_id()::text::bigint").fetchone()[0]
    assert set(table["txid"].to_pylist()) == {current}
    assert len(set(table["sequence"].to_pylist())) == 2


def test_a_deleted_event_frees_its_id_and_names_its_user(connection):
    insert_events(connection, events("a", "b", user="u9"))
    assert delete_event(connection, "a") == "u9"
    assert delete_event(connection, "a") is None
    assert insert_events(connection, events("a", "b", user="u9")) == InsertCounts(1, 1, 1)


def test_a_users_events_go_and_others_stay(connection):
    insert_events(connection, pl.concat([events("a", "b", user="u1"), events("c", user="u2")]))
    assert delete_users_events(connection, ["u1"]) == 2
    assert read_events(connection, columns=["event_id"])["event_id"].to_pylist() == ["c"]
    assert insert_events(connection, events("a", user="u1")).accepted == 1


def test_the_same_batch_from_four_threads_at_once_counts_once(engine):
    frame = events(*(f"shared-{n}" for n in range(500)), user="crowd")
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=seed) for seed in range(4)]
    barrier = threading.Barrier(4)
    counts: list[InsertCounts] = []

    def send(batch: pl.DataFrame) -> None:
        barrier.wait()
        with transaction(engine) as connection:
            found = insert_events(connection, batch)
        counts.append(found)

    threads = [threading.Thread(target=send, args=(batch,)) for batch in shuffled]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(c.accepted for c in counts) == 500
    assert sum(c.duplicates for c in counts) == 1_500
    with transaction(engine) as connection:
        assert delete_users_events(connection, ["crowd"]) == 500
