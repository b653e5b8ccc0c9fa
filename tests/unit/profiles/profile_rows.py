"""Events and items by hand, for the tests of profiles."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from services.profiles.catalogue import Catalogue, build_catalogue
from services.profiles.config import ProfileConfig
from services.profiles.events import EventBatch, build_batch
from services.profiles.fold import fold
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
AS_OF = NOW.timestamp()
HOUR, DAY = 3_600.0, 86_400.0

TYPES = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "type": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "position": pa.int32(),
    "dwell_ms": pa.int64(),
    "depth": pa.float32(),
    "price": pa.float64(),
    "rating": pa.float32(),
    "sentiment": pa.float32(),
}


def event(user: str, item: str | None, kind: str, age: float = 0.0, **properties: float) -> dict:
    """One event, `age` seconds before `NOW`."""
    moment = datetime.fromtimestamp(AS_OF - age, UTC)
    return {"user_id": user, "item_id": item, "type": kind, "timestamp": moment, **properties}


def events_table(*rows: dict) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in TYPES.items()})


def batch(catalogue: Catalogue, *rows: dict) -> EventBatch:
    return build_batch(events_table(*rows), catalogue)


def states(catalogue: Catalogue, *rows: dict, reference: ReferenceStatistics | None = None) -> UserStates:
    """The states of users after these events."""
    reference = reference or ReferenceStatistics.defaults()
    return fold(None, events_table(*rows), catalogue, reference, ProfileConfig())


def item(item_id: str, vector=None, categories=(), brand=None, price=None) -> dict:
    return {"item_id": item_id, "vector": vector, "categories": list(categories), "brand": brand, "price": price}


def catalogue_of(*items: dict, coverage: dict[str, float] | None = None) -> Catalogue:
    """A catalogue; vectors are normalised. Items are put in the order of their ids."""
    rows = sorted(items, key=lambda row: row["item_id"])
    table = pa.table(
        {
            "item_id": pa.array([row["item_id"] for row in rows], pa.string()),
            "brand": pa.array([row["brand"] for row in rows], pa.string()),
            "categories": pa.array([row["categories"] for row in rows], pa.list_(pa.string())),
            "price": pa.array([row["price"] for row in rows], pa.float64()),
        }
    )
    known = [row for row in rows if row["vector"] is not None]
    unit = [np.asarray(row["vector"], "<f4") / np.linalg.norm(row["vector"]) for row in known]
    vectors = pa.table(
        {
            "item_id": pa.array([row["item_id"] for row in known], pa.string()),
            "space": pa.array(["test"] * len(known), pa.string()),
            "vector": pa.array([v.astype("<f4").tobytes() for v in unit], pa.binary()),
        }
    )
    return build_catalogue(table, vectors, coverage)


def read_user(found: EventBatch | UserStates, user: str) -> int:
    """The row of a user."""
    return found.user_ids.to_pylist().index(user)
