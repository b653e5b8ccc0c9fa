"""Which items go together: all events are read, and where that takes long, seldom."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine, text
from tail_shop import DAY, NOW, add, empty_shop

from feature_repo.names import ENGAGEMENT_FEATURES
from services.core.addresses import Addresses
from services.db.checkpoints import get_checkpoint, set_checkpoint
from services.db.session import make_engine, transaction
from services.db.store_marks import database_time
from services.features.snapshot_build import build_snapshot, publish
from services.features.snapshot_tables import SnapshotTables
from services.workers.item_to_item import CHECKPOINT, LONG_S, RESTS, item_to_item

ITEMS = pa.table({"item_id": ["lips-1", "lips-2", "nails-1"]})


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    empty_shop(made)
    with transaction(made) as connection:
        connection.execute(text("DELETE FROM checkpoints WHERE name = :name"), {"name": CHECKPOINT})
    bought = ((f"{user}-{item}", user, item, "purchase", NOW - DAY) for user in "ab" for item in ("lips-1", "lips-2"))
    add(made, *bought)
    yield made
    made.dispose()


def took(engine: Engine, seconds: float, ago: timedelta) -> None:
    """Reading all events took so long, so long ago."""
    with transaction(engine) as connection:
        at = database_time(connection) - ago
        set_checkpoint(connection, CHECKPOINT, {"seconds": seconds, "at": at.isoformat()})


def published(folder: Path) -> Path:
    """A snapshot in which lipstick goes with nail varnish, whatever the events say."""
    ids, nothing = ITEMS["item_id"], pa.nulls(3, pa.string())
    items = {"item_id": ids, "title": ids, "brand": nothing, "currency": nothing, "price": pa.nulls(3, pa.float64())}
    items |= {"attributes": pa.array(["{}"] * 3), "available": pa.array([True] * 3)}
    items |= {"categories": pa.array([[]] * 3, pa.list_(pa.string()))}
    items |= {"published_at": pa.nulls(3, pa.timestamp("us", tz="UTC"))}
    none = pa.array([], pa.string())
    tables = SnapshotTables(
        items=pa.table(items),
        engagement=pa.table({"item_id": ids, **{name: pa.nulls(3, pa.float32()) for name in ENGAGEMENT_FEATURES}}),
        vectors=pa.table({"item_id": none, "space": none, "vector": pa.array([], pa.binary())}),
        co_engagement=pa.table(
            {"item_id": ["lips-1"], "neighbour_id": ["nails-1"], "score": pa.array([1.0], "float32")}
        ),
    )
    publish(folder, build_snapshot(tables, folder, now=NOW))
    return folder


def pairs(engine: Engine, snapshots: Path) -> list[tuple[str, str]]:
    found = item_to_item(engine, snapshots, ITEMS).to_pydict()
    return sorted(zip(found["item_id"], found["neighbour_id"], strict=True))


BY_EVENTS, BY_SNAPSHOT = [("lips-1", "lips-2"), ("lips-2", "lips-1")], [("lips-1", "nails-1")]


def test_all_events_are_read_where_that_is_quick(engine: Engine, tmp_path: Path):
    snapshots = published(tmp_path)
    assert pairs(engine, snapshots) == BY_EVENTS
    with transaction(engine) as connection:
        mark = get_checkpoint(connection, CHECKPOINT)
    assert mark is not None and 0 < mark["seconds"] < LONG_S
    assert pairs(engine, snapshots) == BY_EVENTS


def test_reading_all_events_rests_where_it_takes_long(engine: Engine, tmp_path: Path):
    snapshots, long = published(tmp_path), 4 * LONG_S
    took(engine, long, timedelta(seconds=RESTS * long - 60))
    assert pairs(engine, snapshots) == BY_SNAPSHOT
    took(engine, long, timedelta(seconds=RESTS * long + 1))
    assert pairs(engine, snapshots) == BY_EVENTS


def test_without_a_whole_snapshot_here_all_events_are_read(engine: Engine, tmp_path: Path):
    took(engine, 10 * LONG_S, timedelta(seconds=1))
    assert pairs(engine, tmp_path / "none") == BY_EVENTS
    took(engine, 10 * LONG_S, timedelta(seconds=1))
    snapshots = published(tmp_path / "damaged")
    (next(snapshots.glob("2*")) / "neighbours.npy").write_bytes(b"")
    assert pairs(engine, snapshots) == BY_EVENTS
