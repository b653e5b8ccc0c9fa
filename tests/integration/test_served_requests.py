"""How lists were ranked, kept in PostgreSQL, and the portraits that ranked them in the offline store's history."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.core.metrics import ServingMetrics
from services.db.events import insert_events
from services.db.impressions import ServedList, insert_impressions
from services.db.served_requests import (
    LoggedRequest,
    count_served_requests,
    insert_served_requests,
    keep_portraits,
    prune_served_requests,
    read_served_requests,
)
from services.db.session import make_engine, transaction
from services.db.users import erase_user, upsert_user
from services.serve.impressions import ImpressionWriter

NOON = datetime(2026, 11, 23, 12, 0, 0, 123_457, tzinfo=UTC)
LATER = NOON + timedelta(days=1)


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    with transaction(made) as connection:
        connection.execute(
            text("TRUNCATE served_requests, impressions, serving_features, events, event_keys, users, pending_users")
        )
    yield made
    made.dispose()


def served(request_id: str, at: datetime = NOON, user_id: str = "ada", items: tuple[str, ...] = ("b", "a")):
    count = len(items)
    return ServedList(
        request_id, user_id, None, at.timestamp(), "learned@1", items, [1.0] * count, [1.0, 0.25][:count], [[]] * count
    )


def logged(request_id: str, at: datetime = NOON, user_id: str = "ada", portrait_at: datetime | None = NOON):
    return LoggedRequest(
        request_id=request_id,
        user_id=user_id,
        timestamp=at.timestamp(),
        portrait_at=None if portrait_at is None else portrait_at.timestamp(),
        snapshot="s1",
        model_version="1",
        feature_hash="hash",
        request=b'{"user_id":"ada"}',
        features=np.arange(4, dtype="<f4").tobytes(),
        packed=None if portrait_at is None else b"\x01portrait",
    )


def clicked(event_id: str, request_id: str | None, item: str, at: datetime, kind: str = "click", user: str = "ada"):
    return {
        "event_id": event_id,
        "user_id": user,
        "item_id": item,
        "type": kind,
        "timestamp": at,
        "request_id": request_id,
    }


def store(engine: Engine, *requests: str, at: datetime = NOON, portrait_at: datetime | None = NOON) -> None:
    with transaction(engine) as connection:
        insert_impressions(connection, [served(name, at) for name in requests])
        insert_served_requests(connection, [logged(name, at, portrait_at=portrait_at) for name in requests])


def read(engine: Engine, until: datetime = LATER, labelled_until: datetime = LATER, at_once: int = 100):
    with transaction(engine) as connection:
        return list(read_served_requests(connection, NOON - timedelta(days=1), until, labelled_until, at_once))


def test_a_list_comes_back_with_what_came_of_it_and_nothing_later(engine: Engine) -> None:
    store(engine, "r1")
    rows = [
        clicked("1", "r1", "a", NOON + timedelta(seconds=9)),
        clicked("2", "r1", "a", NOON + timedelta(minutes=9), "purchase"),
        clicked("3", "r1", "b", NOON + timedelta(seconds=5), "impression"),
        clicked("4", None, "b", NOON + timedelta(seconds=5)),
        clicked("5", "r1", "b", NOON + timedelta(seconds=5), user="somebody else"),
        clicked("6", "r1", "b", LATER),
    ]
    with transaction(engine) as connection:
        insert_events(connection, pa.Table.from_pylist(rows))
    (found,) = read(engine)
    (row,) = found.to_pylist()
    assert (row["item_ids"], row["propensities"]) == (["b", "a"], [1.0, 0.25])
    assert (row["event_items"], row["event_types"]) == (["a", "a"], ["click", "purchase"])
    assert (row["timestamp"], row["portrait_at"]) == (NOON, NOON)
    assert np.frombuffer(row["features"], "<f4").tolist() == [0, 1, 2, 3] and row["request"] == b'{"user_id":"ada"}'


def test_lists_are_read_a_few_at_a_time_in_order(engine: Engine) -> None:
    store(engine, "r3", "r1")
    store(engine, "r2", at=NOON + timedelta(seconds=1), portrait_at=None)
    with transaction(engine) as connection:
        insert_served_requests(connection, [logged("never shown")])
    pages = read(engine, at_once=2)
    assert [page["request_id"].to_pylist() for page in pages] == [["r1", "r3"], ["r2"]]
    assert pages[1]["portrait_at"].to_pylist() == [None]
    assert [page["request_id"].to_pylist() for page in read(engine, until=NOON + timedelta(seconds=1))] == [
        ["r1", "r3"]
    ]


def test_who_refused_is_left_out_and_who_is_erased_leaves_nothing(engine: Engine) -> None:
    store(engine, "r1")
    with transaction(engine) as connection:
        upsert_user(connection, "ada", consent={"personalisation": False})
    assert read(engine) == []
    with transaction(engine) as connection:
        assert erase_user(connection, "ada")["served_requests"] == 1
        assert count_served_requests(connection, NOON, LATER) == 0


def test_a_list_that_waited_while_its_user_refused_is_kept_without_how_it_was_ranked(engine: Engine) -> None:
    with transaction(engine) as connection:
        upsert_user(connection, "ada", consent={"personalisation": False})
        assert keep_portraits(connection, [("ada", NOON.timestamp(), b"\x01late"), ("bo", 1.0, b"\x01his")]) == 1
        assert insert_served_requests(connection, [replace(logged("r1"), timestamp=NOON.timestamp())]) == 0


def test_old_lists_are_forgotten(engine: Engine) -> None:
    store(engine, "r1")
    with transaction(engine) as connection:
        assert prune_served_requests(connection, NOON) == 0
        assert prune_served_requests(connection, LATER) == 1


def test_a_portrait_that_is_in_the_history_stays_as_it_is(engine: Engine) -> None:
    with transaction(engine) as connection:
        assert keep_portraits(connection, [("ada", NOON.timestamp(), b"\x01first")]) == 1
        again = [("ada", NOON.timestamp(), b"\x01other"), ("ada", LATER.timestamp(), b"\x01next")]
        assert keep_portraits(connection, again) == 1
        found = connection.execute(text("SELECT event_timestamp, packed FROM serving_features ORDER BY 1")).all()
    assert [(row[0], bytes(row[1])) for row in found] == [(NOON, b"\x01first"), (LATER, b"\x01next")]


def test_the_writer_keeps_lists_how_they_were_ranked_and_each_portrait_once(engine: Engine) -> None:
    metrics = ServingMetrics()
    writer = ImpressionWriter(engine, metrics)
    for name in ("r1", "r2", "r3"):
        writer.add(served(name), replace(logged(name), timestamp=NOON.timestamp()))
    writer.add(served("r4"))
    writer.close()
    with transaction(engine) as connection:
        counts = connection.execute(
            text(
                "SELECT (SELECT count(*) FROM impressions), (SELECT count(*) FROM served_requests), "
                "(SELECT count(*) FROM serving_features)"
            )
        ).one()
    assert tuple(counts) == (8, 3, 1)
    assert 'portrait_logged_requests_total{outcome="written"} 3.0' in metrics.text().decode()


def test_what_waits_is_bounded_in_bytes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.serve.impressions.MAX_LOGGED_BYTES", 2 * logged("r").size)
    monkeypatch.setattr("services.serve.impressions.FLUSH_S", 3_600.0)
    metrics = ServingMetrics()
    writer = ImpressionWriter(engine, metrics)
    for name in ("r1", "r2", "r3"):
        writer.add(served(name), logged(name))
    writer.close()
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM impressions")).scalar_one() == 6
        assert count_served_requests(connection, NOON, LATER) == 2
    assert 'portrait_logged_requests_total{outcome="lost"} 1.0' in metrics.text().decode()
