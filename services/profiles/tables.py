"""Rows of the user feature tables from arrays of portraits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo import names
from services.features.readable_views import as_json
from services.profiles.assemble import brands, categories, interests, recent_items
from services.profiles.events import MOMENT
from services.profiles.portrait_columns import PortraitColumns


def feature_tables(found: PortraitColumns, packed: Sequence[bytes], as_of: datetime) -> dict[str, pa.Table]:
    """By table name the rows to write, one a portrait; `packed` is aligned with them."""
    keys = {names.USER_ID: found.user_ids, names.EVENT_TIMESTAMP: pa.array([as_of] * found.users, MOMENT)}
    return {
        names.BEHAVIOUR_TABLE: pa.table(keys | _behaviour(found.behaviour)),
        names.PROFILE_TABLE: pa.table(keys | _profile(found)),
        names.AFFINITY_TABLE: pa.table(keys | _affinities(found)),
        names.SERVING_TABLE: pa.table(keys | {names.PACKED: pa.array(packed, pa.binary())}),
    }


def _behaviour(values: NDArray[np.float32]) -> dict[str, pa.Array]:
    columns = zip(names.BEHAVIOUR_FEATURES, values.T, strict=True)
    return {name: pa.array(np.ascontiguousarray(column), mask=np.isnan(column)) for name, column in columns}


def _profile(found: PortraitColumns) -> dict[str, pa.Array]:
    known = np.isfinite(found.newest)
    micros = np.where(known, np.round(found.newest * 1e6), 0).astype(np.int64)
    return {
        "confidence": pa.array(found.confidence.astype(np.float32)),
        "lifecycle": pa.array(found.lifecycle, pa.string()),
        "event_count": pa.array(found.event_count.astype(np.int32)),
        "newest_event": pa.array(micros, mask=~known).cast(MOMENT),
        "interests": _json(interests(found)),
        "recent_items": _json(recent_items(found)),
        "long_term": _vectors(found.long_term, found.has_vector),
        "short_term": _vectors(found.short_term, found.has_vector),
        "space": pa.array([found.catalogue.space or None if has else None for has in found.has_vector], pa.string()),
    }


def _affinities(found: PortraitColumns) -> dict[str, pa.Array]:
    prices = zip(("typical", "low", "high"), found.price.T.astype(np.float32), strict=True)
    unknown = np.isnan(found.price[:, 0])
    return {
        "categories": _json(categories(found)),
        "brands": _json(brands(found)),
        **{f"price_{part}": pa.array(np.ascontiguousarray(values), mask=unknown) for part, values in prices},
    }


def _vectors(matrix: NDArray[np.float32], known: NDArray[np.bool_]) -> pa.Array:
    """Little-endian float16 bytes of each user's vector, null where there is none."""
    halves = matrix.astype("<f2")
    ends = (halves.shape[1] * halves.itemsize) * np.arange(len(halves) + 1, dtype=np.int32)
    every = pa.Array.from_buffers(pa.binary(), len(halves), [None, pa.py_buffer(ends), pa.py_buffer(halves)])
    return pc.if_else(pa.array(known), every, pa.scalar(None, pa.binary()))


def _json(values: Sequence[Sequence[Any]]) -> pa.Array:
    return pa.array([as_json(value) for value in values], pa.string())
