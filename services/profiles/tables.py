"""Rows of the user feature tables from portraits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import names
from services.features.portrait import Portrait
from services.features.readable_views import as_json

MOMENT = pa.timestamp("us", tz="UTC")


def feature_tables(
    portraits: Sequence[Portrait], packed: Sequence[bytes], behaviour: NDArray[np.float32], as_of: datetime
) -> dict[str, pa.Table]:
    """By table name the rows to write, one a portrait; `packed` and `behaviour` (U, F) are aligned with them."""
    keys = {
        names.USER_ID: pa.array([p.user_id for p in portraits], pa.string()),
        names.EVENT_TIMESTAMP: pa.array([as_of] * len(portraits), MOMENT),
    }
    return {
        names.BEHAVIOUR_TABLE: pa.table(keys | _behaviour(behaviour)),
        names.PROFILE_TABLE: pa.table(keys | _profile(portraits)),
        names.AFFINITY_TABLE: pa.table(keys | _affinities(portraits)),
        names.SERVING_TABLE: pa.table(keys | {names.PACKED: pa.array(packed, pa.binary())}),
    }


def _behaviour(values: NDArray[np.float32]) -> dict[str, pa.Array]:
    columns = zip(names.BEHAVIOUR_FEATURES, values.T, strict=True)
    return {name: pa.array(np.ascontiguousarray(column), mask=np.isnan(column)) for name, column in columns}


def _profile(portraits: Sequence[Portrait]) -> dict[str, pa.Array]:
    newest = np.array([np.nan if p.newest_event is None else p.newest_event for p in portraits])
    micros = np.where(np.isnan(newest), 0, np.round(newest * 1e6)).astype(np.int64)
    return {
        "confidence": pa.array([p.confidence for p in portraits], pa.float32()),
        "lifecycle": pa.array([p.lifecycle for p in portraits], pa.string()),
        "event_count": pa.array([p.event_count for p in portraits], pa.int32()),
        "newest_event": pa.array(micros, mask=np.isnan(newest)).cast(MOMENT),
        "interests": _json([p.interests for p in portraits]),
        "recent_items": _json([p.recent_items for p in portraits]),
        "long_term": pa.array([p.long_term for p in portraits], pa.binary()),
        "short_term": pa.array([p.short_term for p in portraits], pa.binary()),
        "space": pa.array([p.space or None for p in portraits], pa.string()),
    }


def _affinities(portraits: Sequence[Portrait]) -> dict[str, pa.Array]:
    prices = [p.price for p in portraits]
    return {
        "categories": _json([p.categories for p in portraits]),
        "brands": _json([p.brands for p in portraits]),
        **{
            f"price_{part}": pa.array([None if p is None else getattr(p, part) for p in prices], pa.float32())
            for part in ("typical", "low", "high")
        },
    }


def _json(values: Sequence[Sequence[Any]]) -> pa.Array:
    return pa.array([as_json(value) for value in values], pa.string())
