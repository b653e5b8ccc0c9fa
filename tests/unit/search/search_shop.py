"""A shop of eleven items, built by hand, as a snapshot and as a search index."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from feature_repo.names import ENGAGEMENT_FEATURES
from services.features import snapshot_build
from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_tables import SnapshotTables
from services.search.index import build
from services.search.index.search_index import SearchIndex

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECONDS = NOW.timestamp()
DAY = 86_400.0
SPACE = "hand"

# id, title, brand, categories, price, attributes, available, age in days, vector, popularity
ITEMS = [
    ("a1", "Oak dining table 4 ft. x 6 ft.", "Nord", ["Furniture", "Tables"], 400.0, {}, True, 400, [1, 0, 0, 0], 0.3),
    ("a2", "Oak side table", "Nord", ["Furniture", "Tables"], 90.0, {}, True, 30, [0.9, 0.1, 0, 0], 0.6),
    ("a3", "Table lamp, brass", "Hale", ["Lighting"], 45.0, {"finish": "brass"}, True, 5, [0, 1, 0, 0], 0.9),
    ("a4", "Velvet sofa", "Hale", ["Furniture", "Sofas"], 900.0, {"colour": "green"}, True, 90, [0, 0, 1, 0], 0.5),
    ("a5", "Leather couch", "Nord", ["Furniture", "Sofas"], 1500.0, {}, True, 60, [0, 0, 0.95, 0.3], 0.2),
    ("a6", "18v cordless drill DCD771C2", "Dewalt", ["Tools"], 99.0, {"voltage": "18 V"}, True, 10, [0, 0, 0, 1], 0.8),
    ("a7", "18-Volt drill battery", "Dewalt", ["Tools"], 59.0, {}, True, 200, [0, 0, 0.1, 0.9], 0.4),
    ("a8", "Dishwasher, stainless <steel> & quiet", "Bosch", ["Kitchen"], None, {}, True, 300, [0.5, 0.5, 0, 0], 0.7),
    ("a9", "Oak table, last season", "Nord", ["Furniture", "Tables"], 50.0, {}, False, 900, [0.9, 0, 0.1, 0], 0.1),
    ("b1", "无线蓝牙耳机 降噪", "声海", ["数码", "耳机"], 199.0, {}, True, 20, [0, 0.3, 0, 0.7], 0.5),
    ("b2", "蓝牙音箱 便携", "声海", ["数码", "音箱"], 129.0, {}, True, 25, [0, 0.4, 0, 0.6], 0.4),
]
IDS = [row[0] for row in ITEMS]


def item_table(rows: list[tuple] = ITEMS) -> pa.Table:
    """The catalogue's rows as they are stored."""
    published = [datetime.fromtimestamp(SECONDS - row[7] * DAY, UTC) for row in rows]
    return pa.table(
        {
            "item_id": pa.array([row[0] for row in rows], pa.string()),
            "title": pa.array([row[1] for row in rows], pa.string()),
            "brand": pa.array([row[2] for row in rows], pa.string()),
            "categories": pa.array([row[3] for row in rows], pa.list_(pa.string())),
            "price": pa.array([row[4] for row in rows], pa.float64()),
            "currency": ["EUR"] * len(rows),
            "attributes": [orjson.dumps(row[5]).decode() for row in rows],
            "available": [row[6] for row in rows],
            "published_at": pa.array(published, pa.timestamp("us", tz="UTC")),
        }
    )


def build_snapshot(folder: Path, rows: list[tuple] = ITEMS) -> ItemSnapshot:
    """The published snapshot of the items."""
    engagement = {name: pa.nulls(len(rows), pa.float32()) for name in ENGAGEMENT_FEATURES}
    engagement["popularity"] = pa.array([row[9] for row in rows], pa.float32())
    vectors = np.array([row[8] for row in rows], "<f4").reshape(len(rows), -1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [row[0] for row in rows]
    tables = SnapshotTables(
        items=item_table(rows),
        engagement=pa.table({"item_id": ids, **engagement}),
        vectors=pa.table(
            {"item_id": ids, "space": [SPACE] * len(ids), "vector": [vector.tobytes() for vector in vectors]}
        ),
        co_engagement=pa.table(
            {
                "item_id": pa.array([], pa.string()),
                "neighbour_id": pa.array([], pa.string()),
                "score": pa.array([], pa.float32()),
            }
        ),
    )
    version = snapshot_build.build_snapshot(tables, folder, now=NOW)
    return ItemSnapshot.open(snapshot_build.publish(folder, version))


def build_index(folder: Path, rows: list[tuple] = ITEMS) -> SearchIndex:
    """The published search index of the items."""
    return SearchIndex.open(build.publish(folder, build.build_index(item_table(rows), folder, now=NOW)))


def vector(*values: float) -> np.ndarray:
    """A query vector of length 1."""
    found = np.array(values, np.float32)
    return found / np.linalg.norm(found)


def portrait(**changes: object) -> Portrait:
    """A user of the shop who has done something."""
    values: dict[str, object] = {
        "user_id": "ada",
        "as_of": SECONDS - 60,
        "newest_event": SECONDS - 60,
        "event_count": 9,
        "confidence": 0.8,
        "lifecycle": "active",
        "space": SPACE,
    }
    return Portrait(**(values | changes))
