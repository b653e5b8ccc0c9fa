"""A shop of eight items, built by hand, and portraits of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from feature_repo.names import ENGAGEMENT_FEATURES
from services.features.portrait import Interest, Portrait, RecentItem, pack_vector
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot, publish
from services.features.snapshot_tables import SnapshotTables

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECONDS = NOW.timestamp()
DAY = 86_400.0
SPACE = "hand"

# id, title, brand, categories, price, colour, available, age in days, vector, popularity
ITEMS = [
    ("apron", "Linen apron", "Hale", ["Kitchen", "Textiles"], 25.0, "red", True, 400, [1, 0, 0, 0], 0.10),
    ("bowl", "Blue bowl", "Hale", ["Kitchen", "Tableware"], 12.0, "blue", True, 300, [0.8, 0.6, 0, 0], 0.90),
    ("cup", "Blue cup", "Hale", ["Kitchen", "Tableware"], 8.0, "blue", True, 200, [0.6, 0.8, 0, 0], 0.50),
    ("desk", "Oak desk", "Nord", ["Furniture"], 400.0, "oak", True, 100, [0, 0, 1, 0], 0.30),
    ("easel", "Field easel", None, ["Art"], 60.0, None, True, 2, [0, 0, 0.6, 0.8], 0.05),
    ("fork", "Silver fork", "Nord", ["Kitchen", "Tableware"], None, "grey", True, 500, [0, 1, 0, 0], 0.20),
    ("gong", "Brass gong", None, [], 90.0, None, False, 50, [0, 0, 0, 1], 0.95),
    ("hook", "Coat hook", "Nord", ["Furniture"], 5.0, "oak", True, 10, None, 0.40),
]
IDS = [row[0] for row in ITEMS]
CO_ENGAGED = [("bowl", "cup", 0.9), ("bowl", "fork", 0.4), ("cup", "bowl", 0.7), ("desk", "hook", 0.8)]


def build_shop(snapshots: Path, pairs: tuple[tuple[str, str, float], ...] | None = None) -> ItemSnapshot:
    """The published snapshot of the eight items."""
    published = [datetime.fromtimestamp(SECONDS - row[7] * DAY, UTC) for row in ITEMS]
    vectors = [(row[0], row[8]) for row in ITEMS if row[8] is not None]
    engagement = {name: pa.nulls(len(ITEMS), pa.float32()) for name in ENGAGEMENT_FEATURES}
    engagement["popularity"] = pa.array([row[9] for row in ITEMS], pa.float32())
    engagement["trend"] = pa.array([4.0 if row[0] == "fork" else 1.0 for row in ITEMS], pa.float32())
    tables = SnapshotTables(
        items=pa.table(
            {
                "item_id": IDS,
                "title": [row[1] for row in ITEMS],
                "brand": [row[2] for row in ITEMS],
                "categories": pa.array([row[3] for row in ITEMS], pa.list_(pa.string())),
                "price": [row[4] for row in ITEMS],
                "currency": ["EUR"] * len(ITEMS),
                "attributes": [orjson.dumps({} if row[5] is None else {"colour": row[5]}).decode() for row in ITEMS],
                "available": [row[6] for row in ITEMS],
                "published_at": pa.array(published, pa.timestamp("us", tz="UTC")),
            }
        ),
        engagement=pa.table({"item_id": IDS, **engagement}),
        vectors=pa.table(
            {
                "item_id": [item for item, _ in vectors],
                "space": [SPACE] * len(vectors),
                "vector": pa.array([np.array(vector, "<f4").tobytes() for _, vector in vectors], pa.binary()),
            }
        ),
        co_engagement=pair_table(CO_ENGAGED if pairs is None else pairs),
    )
    return ItemSnapshot.open(publish(snapshots, build_snapshot(tables, snapshots, now=NOW)))


def pair_table(pairs: Sequence[tuple[str, str, float]]) -> pa.Table:
    columns = list(zip(*pairs, strict=True)) or [(), (), ()]
    schema = pa.schema([("item_id", pa.string()), ("neighbour_id", pa.string()), ("score", pa.float64())])
    return pa.table([pa.array(values) for values in columns], names=schema.names).cast(schema)


def portrait(**changes: object) -> Portrait:
    """A user who bought the bowl, likes tableware and has looked at the desk."""
    values: dict[str, object] = {
        "user_id": "ada",
        "as_of": SECONDS - 60,
        "newest_event": SECONDS - 60,
        "event_count": 3,
        "confidence": 0.5,
        "lifecycle": "active",
        "space": SPACE,
        "long_term": pack_vector(np.array([0.8, 0.6, 0, 0])),
        "short_term": pack_vector(np.array([0, 0, 1, 0])),
        "interests": (Interest("bowl", 1.0, "Tableware by Hale", ("Kitchen", "Tableware"), ("Hale",)),),
        "categories": (("Tableware", 0.7), ("Furniture", 0.3)),
        "brands": (("Hale", 0.8),),
        "recent_items": (
            RecentItem("desk", "view", SECONDS - 60, 0.3),
            RecentItem("bowl", "purchase", SECONDS - 3_600, 1.0),
        ),
        "bought": ("bowl",),
        "neighbours": (("ben", 0.9),),
        "neighbour_items": (("easel", 0.6),),
    }
    return Portrait(**(values | changes))
