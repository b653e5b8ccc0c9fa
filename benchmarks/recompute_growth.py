"""What a full recompute costs over the bare weighted aggregation of the same rows, and how both grow with events.

Random events (fifty a user of twenty items) over 20,000 items × 384, computed from Arrow in chunks of whole users
as the worker does: weights, folded states, vectors, interests, affinities, behaviour windows, read out and packed. The
yardstick is Polars' weighted aggregation of the same events: weight by type and age, summed a user and item, a thread.
PostgreSQL's part, reading events and writing rows, is `profile_recompute`'s.

Bars: seconds over Polars' ≤ 2; 6 GB; seconds an event at the full size within 15% of those at a tenth of it.
`PORTRAIT_BENCH_USERS` (1,000,000) is the full size. Run: `python -m benchmarks.recompute_growth`.
"""

import json
import os
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks._sizes import size
from services.profiles.catalogue import Catalogue, build_catalogue
from services.profiles.chunk import compute_chunk
from services.profiles.config import DAY, ProfileConfig
from services.profiles.fold import fold
from services.profiles.near import NOBODY
from services.profiles.offline import offline_reference
from services.profiles.read_out import portraits_of
from services.profiles.reference import ReferenceStatistics

ITEMS, DIMENSION, EVENTS_PER_USER = 20_000, 384, 50
BAR, MEMORY_BAR_GB, LINEAR = 2.0, 6.0, 0.15
CHUNK_USERS = 4_096
NOW = datetime(2026, 11, 1, tzinfo=UTC)
TYPES = ("view", "click", "cart", "favourite", "purchase")
MOMENT = pa.timestamp("us", tz="UTC")


def run() -> dict[str, Any]:
    """The ratio at the full size, memory, and seconds an event at a tenth of it and at all of it."""
    users = int(size("USERS", 1_000_000, 20_000))
    catalogue, reference = _shop()
    tenth = _measure(max(users // 10, 1), catalogue, reference)
    whole = _measure(users, catalogue, reference)
    ratio = round(whole["ours_s"] / whole["polars_s"], 2)
    growth = round((whole["ours_s"] / whole["events"]) / (tenth["ours_s"] / tenth["events"]), 3)
    memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)
    return {
        "name": "recompute_growth",
        "figure": ratio,
        "bar": BAR,
        "holds": ratio <= BAR and memory <= MEMORY_BAR_GB and abs(growth - 1) <= LINEAR,
        "figures": {
            "a_tenth": tenth,
            "whole": whole,
            "seconds_an_event_whole_over_tenth": growth,
            "peak_gb": memory,
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


def _measure(users: int, catalogue: Catalogue, reference: ReferenceStatistics) -> dict[str, float]:
    """Processor seconds of both over the same chunks."""
    ours = theirs = 0.0
    events = packed = 0
    config, as_of = ProfileConfig(), NOW.timestamp()
    for chunk in _chunks(users):
        started = time.process_time()
        states = fold(None, chunk, catalogue, reference, config)
        parts = compute_chunk(states, catalogue, reference, as_of, config)
        made = portraits_of(states, parts, [NOBODY] * states.users, catalogue, as_of, config)
        packed += sum(map(len, made.packed))
        between = time.process_time()
        _aggregated(chunk)
        theirs += time.process_time() - between
        ours += between - started
        events += chunk.num_rows
    return {
        "users": users,
        "events": events,
        "ours_s": round(ours, 2),
        "polars_s": round(theirs, 2),
        "events_per_s": round(events / ours),
        "packed_bytes_per_user": round(packed / users),
    }


def _aggregated(events: pa.Table) -> pl.DataFrame:
    """Weights by type and age, summed a user and item."""
    weights = pl.DataFrame({"type": TYPES, "importance": [0.1, 0.3, 0.6, 0.5, 1.0]})
    age = (pl.lit(NOW) - pl.col("timestamp")).dt.total_microseconds() / 1e6
    return (
        pl.from_arrow(events.select(["user_id", "item_id", "type", "timestamp"]))
        .lazy()
        .join(weights.lazy(), on="type")
        .with_columns(weight=pl.col("importance") * 2.0 ** (-age / (60 * DAY)))
        .group_by("user_id", "item_id")
        .agg(pl.col("weight").sum(), pl.col("timestamp").max())
        .collect()
    )


def _shop() -> tuple[Catalogue, ReferenceStatistics]:
    random = np.random.default_rng(7)
    vectors = random.standard_normal((ITEMS, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    leaf = random.integers(0, 200, ITEMS)
    ids = [f"i{n:06d}" for n in range(ITEMS)]
    items = pa.table(
        {
            "item_id": ids,
            "title": ids,
            "brand": [f"Brand {b}" for b in random.integers(0, 400, ITEMS)],
            "categories": [["Shop", f"Aisle {c // 10}", f"Leaf {c}"] for c in leaf],
            "price": np.exp(random.normal(3.0, 0.8, ITEMS)),
        }
    )
    table = pa.table(
        {
            "item_id": ids,
            "space": ["bench"] * ITEMS,
            "vector": pa.array([row.tobytes() for row in vectors], pa.binary()),
        }
    )
    return build_catalogue(items, table), offline_reference(next(_chunks(2_000)), items)


def _chunks(users: int) -> Iterator[pa.Table]:
    """Events of whole users in order of time, made when asked for."""
    for start in range(0, users, CHUNK_USERS):
        random = np.random.default_rng(start)
        count = min(CHUNK_USERS, users - start)
        events = count * EVENTS_PER_USER
        user = np.repeat(np.arange(start, start + count), EVENTS_PER_USER)
        taste = random.integers(0, ITEMS, (count, 20))
        item = taste[np.repeat(np.arange(count), EVENTS_PER_USER), random.integers(0, 20, events)]
        seconds = np.sort(random.exponential(30 * DAY, (count, EVENTS_PER_USER)), axis=1)[:, ::-1].ravel()
        kind = random.choice(len(TYPES), events, p=[0.6, 0.25, 0.07, 0.03, 0.05])
        micros = ((NOW.timestamp() - seconds) * 1e6).astype(np.int64)
        nothing = {"position": pa.int32(), "depth": pa.float32(), "rating": pa.float32(), "sentiment": pa.float32()}
        yield pa.table(
            {
                "user_id": pa.array([f"u{n:08d}" for n in user.tolist()], pa.string()),
                "item_id": pa.array([f"i{n:06d}" for n in item.tolist()], pa.string()),
                "type": pa.array(np.array(TYPES, object)[kind], pa.string()),
                "timestamp": pa.array(micros, pa.int64()).cast(MOMENT),
                "dwell_ms": pa.array(np.where(kind == 0, random.integers(500, 90_000, events), 0), pa.int64()),
                "price": pa.array(np.exp(random.normal(3.0, 0.8, events))),
                **{name: pa.nulls(events, type_) for name, type_ in nothing.items()},
            }
        )


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
