"""Engagement rows and reference statistics on a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from sqlalchemy import Connection, Engine, text

from feature_repo import names
from services.core.addresses import Addresses
from services.db.engagement import latest_engagement, prune_engagement, record_engagement, served_positions
from services.db.events import insert_events
from services.db.models.item_states import ITEM_SUMS
from services.db.pending_items import ItemReason, count_pending_items, enqueue_items_since, take_items
from services.db.reference import event_volume, sample_events
from services.db.session import make_engine
from services.profiles.engagement_features import feature_table
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference, refit_reference

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)


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


def write(connection: Connection, as_of: datetime, **purchases: float) -> int:
    """Feature rows with these items' purchases, all else empty."""
    features = np.zeros((len(names.ENGAGEMENT_FEATURES), len(purchases)), np.float32)
    features[names.ENGAGEMENT_FEATURES.index("purchases_30d")] = list(purchases.values())
    features[names.ENGAGEMENT_FEATURES.index("rating_mean")] = np.nan
    times = pa.array([as_of] * len(purchases), pa.timestamp("us", "UTC"))
    return record_engagement(connection, feature_table(pl.Series(list(purchases)), features, times), as_of)


def stored(connection: Connection) -> list[tuple]:
    query = "SELECT item_id, event_timestamp, purchases_30d, rating_mean FROM item_engagement ORDER BY 1, 2"
    return [tuple(row) for row in connection.execute(text(query))]


def test_an_item_keeps_one_row_a_minute_the_last_one(connection: Connection) -> None:
    minute = timedelta(minutes=1)
    assert write(connection, AS_OF, a=1, b=1) == 2
    assert write(connection, AS_OF + minute / 2, a=2) == 1
    assert write(connection, AS_OF + minute, a=3) == 1
    assert stored(connection) == [
        ("a", AS_OF + minute / 2, 2.0, None),
        ("a", AS_OF + minute, 3.0, None),
        ("b", AS_OF, 1.0, None),
    ]
    assert write(connection, AS_OF) == 0


def test_the_latest_rows_are_found_with_and_without_states(connection: Connection) -> None:
    for day in range(3):
        write(connection, AS_OF + timedelta(days=day), a=day, b=10 + day)
    bought = {row["item_id"]: row["purchases_30d"] for row in latest_engagement(connection).to_pylist()}
    assert bought == {"a": 2.0, "b": 12.0}
    sums = ", ".join(ITEM_SUMS)
    nothing = ", ".join("0" for _ in ITEM_SUMS)
    connection.execute(text(f"INSERT INTO item_states (item_id, newest, {sums}) VALUES ('a', now(), {nothing})"))
    bought = {row["item_id"]: row["purchases_30d"] for row in latest_engagement(connection).to_pylist()}
    assert bought == {"a": 2.0}


def test_pruning_keeps_what_joins_from_then_on_see(connection: Connection) -> None:
    for day in range(3):
        write(connection, AS_OF + timedelta(days=day), a=day)
    before = [row[1] for row in stored(connection)]
    assert prune_engagement(connection, AS_OF + timedelta(days=1, hours=1)) == 1
    assert [row[1] for row in stored(connection)] == before[1:]


def test_only_what_was_written_since_is_asked_for_again_and_once(connection: Connection) -> None:
    write(connection, AS_OF, a=1, b=1)
    write(connection, AS_OF + timedelta(hours=1), b=2)
    assert enqueue_items_since(connection, AS_OF + timedelta(minutes=1)) == 1
    assert enqueue_items_since(connection, AS_OF) == 1
    assert sorted(take_items(connection, ItemReason.PUBLISH, 10)) == ["a", "b"]
    assert count_pending_items(connection) == {}


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
