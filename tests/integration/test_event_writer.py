"""Group commit on a real PostgreSQL: exact answers, bad and blocked batches alone, nothing taken that is not kept."""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from services.core.addresses import Addresses
from services.core.columns import EVENT_COLUMNS
from services.core.errors import DependencyDown, InvalidInput, NotReady
from services.db.event_lines import insert_lines
from services.db.events import insert_events, read_events
from services.db.session import make_engine, raw, transaction
from services.ingest.event_writer import EventsOutcome, EventWriter, WriterConfig
from services.ingest.events import encode_events, parse_events
from services.ingest.import_file import import_file

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATIENT = WriterConfig(lanes=1, lock_ms=20_000)
"""One lane that waits: while it is blocked, what is submitted becomes the next group."""

WITHIN_S = 60


@pytest.fixture(scope="module")
def module_engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url, pool_size=12)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    with transaction(module_engine) as connection:
        raw(connection).execute("TRUNCATE events, event_keys")
    return module_engine


@contextmanager
def writing(database: Addresses, config: WriterConfig | None = None, url: str | None = None) -> Iterator[EventWriter]:
    config = config or WriterConfig()
    own = make_engine(url or database.sqlalchemy_url, pool_size=config.connections)
    writer = EventWriter(own, config, clock=lambda: NOW)
    yield writer
    writer.close()


def event(event_id: str, **changes: object) -> dict[str, object]:
    return {
        "event_id": event_id,
        "user_id": "ada",
        "item_id": "i",
        "type": "favourite",
        "timestamp": "2026-11-23T10:00:00Z",
        **changes,
    }


def body(*ids: str, **changes: object) -> bytes:
    return json.dumps({"events": [event(one, **changes) for one in ids]}).encode()


def outcome(answer: "Future[EventsOutcome]") -> tuple[int, int, int]:
    found = answer.result(WITHIN_S)
    return found.accepted, found.duplicates, len(found.rejected)


def stored(engine: Engine, columns: tuple[str, ...] = ("event_id",)) -> list[dict[str, object]]:
    with transaction(engine) as connection:
        return read_events(connection, columns=columns).to_pylist()


@contextmanager
def holding(engine: Engine, *ids: str) -> Iterator[Connection]:
    """A transaction under way that has written these events, as an import has; it is committed at the end."""
    with transaction(engine) as connection:
        insert_events(connection, parse_events(body(*ids), NOW).frame)
        yield connection


def wait_for(condition) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def waits_for_lock(engine: Engine) -> bool:
    with transaction(engine) as connection:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        return raw(connection).execute(query).fetchone()[0] > 0


def test_an_answer_means_that_the_events_are_stored(engine, database):
    with writing(database) as writer:
        assert outcome(writer.submit(body("a", "b"))) == (2, 0, 0)
        assert [row["event_id"] for row in stored(engine)] == ["a", "b"]


def test_a_repeated_batch_is_answered_the_same_each_time(engine, database):
    batch = json.dumps({"events": [event("a"), event("a"), event("b", user_id=""), event("c")]}).encode()
    with writing(database) as writer:
        assert outcome(writer.submit(batch)) == (2, 1, 1)
        assert {outcome(writer.submit(batch)) for _ in range(3)} == {(0, 3, 1)}


def test_what_waits_is_committed_together_and_answered_apart(engine, database):
    with writing(database, PATIENT) as writer:
        with holding(engine, "held"):
            first = writer.submit(body("held", "x"))
            wait_for(lambda: waits_for_lock(engine))
            rest = [writer.submit(body("a", "b")), writer.submit(body("b", "c")), writer.submit(body("c", "x", "d"))]
        assert outcome(first) == (1, 1, 0)
        assert [outcome(answer) for answer in rest] == [(2, 0, 0), (1, 1, 0), (1, 2, 0)]
    together = {row["txid"] for row in stored(engine, ("event_id", "txid")) if row["event_id"] in "abcd"}
    assert len(together) == 1


def test_a_batch_that_cannot_be_stored_fails_alone(engine, database):
    with transaction(engine) as connection:
        raw(connection).execute("ALTER TABLE events ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')")
    try:
        with writing(database, PATIENT) as writer:
            with holding(engine, "held"):
                first = writer.submit(body("held"))
                wait_for(lambda: waits_for_lock(engine))
                good, bad, fine = (writer.submit(body(name, user_id=name)) for name in ("good", "poison", "fine"))
            assert [outcome(answer) for answer in (first, good, fine)] == [(0, 1, 0), (1, 0, 0), (1, 0, 0)]
            assert "no_poison" in str(bad.exception(WITHIN_S))
    finally:
        with transaction(engine) as connection:
            raw(connection).execute("ALTER TABLE events DROP CONSTRAINT no_poison")
    assert sorted(row["event_id"] for row in stored(engine)) == ["fine", "good", "held"]


def test_an_event_that_an_import_is_writing_is_refused_for_now_and_its_neighbours_are_not(engine, database):
    with writing(database, WriterConfig(lock_ms=30, alone_lock_ms=60)) as writer:
        with holding(engine, "held"):
            blocked, free = writer.submit(body("held")), writer.submit(body("free"))
            assert outcome(free) == (1, 0, 0)
            assert isinstance(blocked.exception(WITHIN_S), NotReady)
            assert "import" in blocked.exception().detail
        assert outcome(writer.submit(body("held"))) == (0, 1, 0)


def test_a_deadlock_is_tried_again(engine, database):
    keys = {name: encode_events(body(name), NOW).events.keys[0] for name in ("one", "two")}
    low, high = sorted(keys, key=keys.__getitem__)
    with writing(database, PATIENT) as writer:
        with holding(engine, high) as other:
            answer = writer.submit(body(low, high))  # has the lower key, waits for the higher one
            wait_for(lambda: waits_for_lock(engine))
            raw(other).execute("SET LOCAL deadlock_timeout = '1min'")  # the writer looks first, and gives way
            insert_events(other, parse_events(body(low), NOW).frame)  # waits for the lower
        assert outcome(answer) == (0, 2, 0)
    assert len(stored(engine)) == 2


def test_more_than_may_wait_is_refused_at_once(engine, database):
    bounded = WriterConfig(lanes=1, lock_ms=20_000, waiting_batches=2)
    with writing(database, bounded) as writer:
        with holding(engine, "held"):
            taken = [writer.submit(body("held")), writer.submit(body("a"))]
            with pytest.raises(NotReady, match="waiting"):
                writer.submit(body("b"))
            assert writer.unanswered == 2
        assert [outcome(answer) for answer in taken] == [(0, 1, 0), (1, 0, 0)]
        wait_for(lambda: writer.unanswered == 0)
        assert outcome(writer.submit(body("b"))) == (1, 0, 0)


def test_more_bytes_than_may_wait_are_refused_but_one_batch_always_may(engine, database):
    with writing(database, WriterConfig(lanes=1, lock_ms=20_000, waiting_bytes=10)) as writer:
        with holding(engine, "held"):
            taken = writer.submit(body("held"))
            with pytest.raises(NotReady):
                writer.submit(body("a"))
        assert outcome(taken) == (0, 1, 0)


def test_a_caller_that_went_away_frees_its_place(engine, database):
    with writing(database, PATIENT) as writer:
        with holding(engine, "held"):
            first = writer.submit(body("held"))
            wait_for(lambda: waits_for_lock(engine))
            assert writer.submit(body("gone")).cancel()
        assert outcome(first) == (0, 1, 0)
        wait_for(lambda: writer.unanswered == 0)
    assert [row["event_id"] for row in stored(engine)] == ["held"]


def test_an_unreadable_body_is_told_to_its_sender_alone(engine, database):
    with writing(database) as writer:
        bad, good = writer.submit(b'{"events": []}'), writer.submit(body("a"))
        assert isinstance(bad.exception(WITHIN_S), InvalidInput)
        assert outcome(good) == (1, 0, 0)
        wait_for(lambda: writer.unanswered == 0)


def test_closing_stores_what_was_taken_and_takes_no_more(engine, database):
    with writing(database, PATIENT) as writer:
        with holding(engine, "held"):
            answers = [writer.submit(body("held"))] + [writer.submit(body(f"e{n}")) for n in range(5)]
        writer.close()
        assert [outcome(answer)[0] for answer in answers] == [0, 1, 1, 1, 1, 1]
        with pytest.raises(NotReady, match="stopping"):
            writer.submit(body("late"))


def test_without_postgres_nothing_is_acknowledged_and_the_cure_is_told(engine, database, tmp_path):
    away = f"postgresql+psycopg://postgres@/portrait?host={tmp_path}"
    with writing(database, url=away) as writer:
        answers = [writer.submit(body(f"e{n}")) for n in range(3)]
        failures = [answer.exception(WITHIN_S) for answer in answers]
    assert all(isinstance(failure, DependencyDown) and "portrait doctor" in failure.detail for failure in failures)


def test_a_read_only_server_is_named_as_such(engine, database):
    name = raw_name(engine)
    _set_read_only(engine, name, "on")
    try:
        with writing(database) as writer:
            failure = writer.submit(body("a")).exception(WITHIN_S)
    finally:
        _set_read_only(engine, name, "off")
    assert isinstance(failure, DependencyDown) and "read-only" in failure.detail
    assert stored(engine) == []


def raw_name(engine: Engine) -> str:
    with transaction(engine) as connection:
        return raw(connection).info.dbname


def _set_read_only(engine: Engine, name: str, value: str) -> None:
    with transaction(engine) as connection:
        raw(connection).execute("SET TRANSACTION READ WRITE")
        raw(connection).execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')


def test_a_connection_that_was_cut_is_replaced(engine, database):
    with writing(database) as writer:
        assert outcome(writer.submit(body("a"))) == (1, 0, 0)
        with transaction(engine) as connection:
            raw(connection).execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        answers = [writer.submit(body("b")) for _ in range(3)]
        done = [answer.result() for answer in answers if answer.exception(WITHIN_S) is None]
    assert sum(found.accepted for found in done) == 1
    assert sorted(row["event_id"] for row in stored(engine)) == ["a", "b"]


def test_an_import_that_began_a_month_does_not_hold_up_that_month(engine, database):
    with transaction(engine) as importing:
        insert_events(importing, parse_events(body("import", timestamp="2019-05-01T00:00:00Z"), NOW).frame)
        with writing(database, WriterConfig(lock_ms=500)) as writer:
            assert outcome(writer.submit(body("http", timestamp="2019-05-02T00:00:00Z"))) == (1, 0, 0)
    assert len(stored(engine)) == 2


def test_events_are_announced_when_they_are_committed(engine, database):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listening:
        raw(listening).execute("LISTEN portrait_events")
        with writing(database) as writer:
            assert outcome(writer.submit(body("a"))) == (1, 0, 0)
        heard = list(raw(listening).notifies(timeout=WITHIN_S, stop_after=1))
    assert [notification.channel for notification in heard] == ["portrait_events"]


TEXTS = (
    st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=20)
    | st.sampled_from(["a\\b", "\\N", "tab\tand\nline", "<b>x</b>", "&amp;", "ünï", "\\.", ""])
    | st.sampled_from(["＼N", "x＼", "C:＼temp＼new", "a&#92;", "a&bsol;b"])
)  # a backslash once they are cleaned
IDS = st.text(st.characters(exclude_categories=["Cs", "Cn", "Cc"]), min_size=1, max_size=8) | st.just("\\N")
WIRE_EVENTS = st.one_of(
    st.builds(lambda t: {"type": "review", "properties": {"text": t, "rating": 4}}, TEXTS),
    st.builds(lambda t: {"type": "search", "properties": {"query": t}, "item_id": None}, TEXTS),
    st.builds(
        lambda d, n: {"type": "view", "properties": {"depth": d, "dwell_ms": n}},
        st.floats(0, 1) | st.none(),
        st.integers(0, 86_400_000) | st.none(),
    ),
    st.builds(
        lambda q, p: {"type": "purchase", "properties": {"quantity": q, "price": p}},
        st.integers(1, 1_000_000),
        st.floats(0, 1e9) | st.integers(0, 10**9),
    ),
    st.builds(lambda i, s: {"type": "hide", "session_id": i, "surface": s, "request_id": s}, IDS, IDS | st.none()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(WIRE_EVENTS, IDS, st.integers(-720, 720)), min_size=1, max_size=5))
def test_lines_store_what_frames_store(engine, drawn):
    events = [
        event(f"{n}{name}", user_id=name, **changes) | {"timestamp": f"2026-11-2{n}T10:00:00.0{n}{_offset(zone)}"}
        for n, (changes, name, zone) in enumerate(drawn)
    ]
    content = json.dumps({"events": events}, ensure_ascii=False).encode()
    late = datetime(2027, 1, 1, tzinfo=UTC)
    encoded, parsed = encode_events(content, late), parse_events(content, late)
    assert encoded.rejected == parsed.rejected
    found = []
    for store in (
        lambda connection: insert_lines(connection, [encoded.events]),
        lambda connection: insert_events(connection, parsed.frame),
    ):
        with engine.connect() as connection:
            store(connection)
            found.append(pl.from_arrow(read_events(connection, columns=tuple(EVENT_COLUMNS), ordered=True)))
            connection.rollback()
    assert found[0].equals(found[1])


def _offset(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_overlapping_batches_of_many_senders_and_an_import_count_each_event_once(
    module_engine, database, tmp_path, seed
):
    with transaction(module_engine) as connection:
        raw(connection).execute("TRUNCATE events, event_keys")
    draw = random.Random(seed)
    ids = [f"{seed}-{n}" for n in range(60)]
    file = tmp_path / f"{seed}.jsonl"
    file.write_text("".join(json.dumps(event(one)) + "\n" for one in draw.sample(ids, 40)))
    batches = [[draw.choice(ids) for _ in range(draw.randint(1, 12))] for _ in range(40)]
    start = threading.Barrier(5)

    def send(writer: EventWriter, mine: list[list[str]]) -> int:
        start.wait()
        return sum(_insistently(writer, batch) for batch in mine)

    def run_import() -> int:
        start.wait()
        return import_file(module_engine, Path(file), kind="events", now=NOW).events.accepted

    with writing(database, WriterConfig(lock_ms=20, alone_lock_ms=40)) as writer, ThreadPoolExecutor(5) as threads:
        imported = threads.submit(run_import)
        sent = [threads.submit(send, writer, batches[n::4]) for n in range(4)]
        accepted = imported.result(WITHIN_S) + sum(one.result(WITHIN_S) for one in sent)
    wanted = {json.loads(line)["event_id"] for line in file.read_text().splitlines()} | {i for b in batches for i in b}
    assert accepted == len(wanted)
    assert sorted(row["event_id"] for row in stored(module_engine)) == sorted(wanted)


def _insistently(writer: EventWriter, batch: list[str]) -> int:
    """How many events of a batch were accepted, sent again as long as PostgreSQL is busy."""
    for _ in range(1_000):
        try:
            found = writer.submit(body(*batch)).result(WITHIN_S)
        except NotReady:
            continue
        assert found.accepted + found.duplicates == len(batch)
        return found.accepted
    raise AssertionError("never answered")
