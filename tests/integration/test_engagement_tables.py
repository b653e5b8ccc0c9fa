"""Engagement rows and reference statistics on a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from sqlalchemy import Connection, Engine, text

from services.core.addresses import Addresses
from services.db.engagement import newest_engagement, prune_engagement, served_positions, write_engagement
from services.db.events import insert_events, iter_event_chunks
from services.db.reference import event_volume, sample_events
from services.db.session import make_engine
from services.profiles.engagement import compute_engagement
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference, refit_reference

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = ("user_id", "item_id", "type", "timestamp", "position", "rating", "sentiment")
REFERENCE = ReferenceStatistics.defaults()


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is taken back: each test starts with an empty database."""
    with engine.connect() as connection, connection.begin() as begun:
        yield connection
        begun.rollback()


def store(connection: Connection, *rows: tuple[str, str, str, timedelta]) -> None:
    """Rows of (user, item, type, age at AS_OF)."""
    table = pa.table(
        {
            "event_id": [f"{n}-{'-'.join(map(str, row))}" for n, row in enumerate(rows)],
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "type": [row[2] for row in rows],
            "timestamp": pa.array([AS_OF - row[3] for row in rows], pa.timestamp("us", "UTC")),
        }
    )
    insert_events(connection, table)


def write(connection: Connection, as_of: datetime) -> int:
    chunks = iter_event_chunks(connection, users_per_chunk=1, until=as_of, columns=COLUMNS)
    rows = compute_engagement(chunks, as_of, REFERENCE, newest=newest_engagement(connection, as_of))
    return write_engagement(connection, rows, as_of)


def stored(connection: Connection) -> list[tuple]:
    query = "SELECT item_id, event_timestamp, purchases_30d, users_total, popularity, rating_mean FROM item_engagement"
    return [tuple(row) for row in connection.execute(text(f"{query} ORDER BY 1, 2"))]


def test_engagement_of_stored_events_becomes_feature_rows(connection: Connection) -> None:
    store(connection, ("u", "a", "purchase", timedelta(days=1)), ("v", "a", "purchase", timedelta(days=40)))
    assert write(connection, AS_OF) == 1
    assert stored(connection) == [("a", AS_OF, 1.0, 2.0, 1.0, None)]


def test_an_item_gets_a_new_row_only_when_its_values_change(connection: Connection) -> None:
    store(connection, ("u", "a", "purchase", timedelta(days=1)), ("u", "b", "purchase", timedelta(days=1)))
    assert write(connection, AS_OF) == 2
    assert write(connection, AS_OF + timedelta(minutes=1)) == 0
    later = AS_OF + timedelta(days=30)
    assert write(connection, later) == 2  # the purchases left the 30-day window
    assert [row[1] for row in stored(connection)] == [AS_OF, later] * 2


def test_writing_the_same_moment_again_replaces_its_rows(connection: Connection) -> None:
    store(connection, ("u", "a", "purchase", timedelta(days=1)))
    write(connection, AS_OF)
    store(connection, ("w", "a", "purchase", timedelta(days=2)))
    assert write(connection, AS_OF) == 1
    assert [row[2] for row in stored(connection)] == [2.0]


def test_an_item_whose_events_were_deleted_gets_an_empty_row_once(connection: Connection) -> None:
    store(connection, ("u", "a", "purchase", timedelta(days=1)))
    write(connection, AS_OF)
    connection.execute(text("DELETE FROM events"))
    assert write(connection, AS_OF + timedelta(hours=1)) == 1
    assert stored(connection)[-1][2:] == (0.0, 0.0, 0.0, None)
    assert write(connection, AS_OF + timedelta(hours=2)) == 0


def test_pruning_keeps_what_joins_from_then_on_see(connection: Connection) -> None:
    store(connection, ("u", "a", "purchase", timedelta(days=29)))
    for day in range(3):
        write(connection, AS_OF + timedelta(days=day))
        store(connection, (f"u{day}", "a", "purchase", timedelta(days=day)))
    before = [row[1] for row in stored(connection)]
    assert prune_engagement(connection, AS_OF + timedelta(days=1, hours=1)) == 1
    assert [row[1] for row in stored(connection)] == before[1:]


def test_the_newest_event_on_an_item_is_found_however_old(connection: Connection) -> None:
    assert newest_engagement(connection, AS_OF) is None
    store(connection, ("u", "a", "view", timedelta(days=900)))
    assert newest_engagement(connection, AS_OF) == AS_OF - timedelta(days=900)
    store(connection, ("u", "a", "view", timedelta(days=3)), ("u", "a", "view", timedelta(days=-3)))
    assert newest_engagement(connection, AS_OF) == AS_OF - timedelta(days=3)


def test_served_lists_count_by_position_unless_the_shop_sends_impressions(connection: Connection) -> None:
    insert = text(
        "INSERT INTO impressions (request_id, position, item_id, user_id, timestamp, score, model) "
        "VALUES (:request, :position, :item, 'u', :at, 0.5, 'blend')"
    )
    shown = [("r1", 0, "a", 1), ("r2", 0, "a", 2), ("r2", 7, "b", 2), ("r3", 0, "a", 40)]
    for request, position, item, days in shown:
        at = AS_OF - timedelta(days=days)
        connection.execute(insert, {"request": request, "position": position, "item": item, "at": at})
    since = AS_OF - timedelta(days=30)
    counted = served_positions(connection, since, AS_OF, positions=5).sort_by("item_id").to_pylist()
    assert counted == [
        {"item_id": "a", "position": 0, "shown": 2},
        {"item_id": "b", "position": 4, "shown": 1},
    ]
    store(connection, ("u", "a", "impression", timedelta(days=1)))
    assert served_positions(connection, since, AS_OF, positions=5).num_rows == 0


def test_a_sample_holds_whole_users_and_the_same_ones_each_time(connection: Connection) -> None:
    rows = [(f"user-{n}", item, "click", timedelta(days=1)) for n in range(200) for item in "ab"]
    store(connection, *rows)
    since = AS_OF - timedelta(days=30)
    assert event_volume(connection, since, AS_OF) == 400
    half = sample_events(connection, since, AS_OF, 0.5).to_pydict()
    assert 60 < len(set(half["user_id"])) < 140
    assert len(half["user_id"]) == 2 * len(set(half["user_id"]))
    assert sorted(half["user_id"]) == sorted(sample_events(connection, since, AS_OF, 0.5).to_pydict()["user_id"])
    assert sample_events(connection, since, AS_OF, 1.0).num_rows == 400


def test_statistics_get_a_new_version_only_when_they_change_notably(connection: Connection) -> None:
    assert load_reference(connection) == ReferenceStatistics.defaults()
    connection.execute(text("INSERT INTO items (item_id, title, brand) VALUES ('a', 'A', 'Acme'), ('b', 'B', 'Bolt')"))
    store(connection, ("u", "a", "purchase", timedelta(days=9)))
    first = refit_reference(connection, AS_OF)
    assert first.brand_prior == {"Acme": 1.0}
    assert load_reference(connection) == first
    assert refit_reference(connection, AS_OF).version == first.version
    store(connection, *((f"w{n}", "b", "purchase", timedelta(days=2)) for n in range(5)))
    second = refit_reference(connection, AS_OF)
    assert second.version > first.version
    assert load_reference(connection, first.version) == first
    assert load_reference(connection) == second
