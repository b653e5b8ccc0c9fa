"""Full profile recompute of Amazon Beauty (22,363 users, 198,502 events, 12,101 items × 384) on embedded PostgreSQL.

Real sequences where PORTRAIT_TEST_DATA names their folder, simulated ones of the same size otherwise. The vectors
are random: what they hold does not change the work. Run: `python -m benchmarks.profile_recompute`.
"""

import gzip
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from services.core.paths import HomePaths
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.migrate import upgrade
from services.db.session import make_engine, transaction
from services.profiles.recompute import recompute_profiles
from services.runtime.postgres import EmbeddedPostgres

BAR_S = 60.0
USERS, EVENTS, ITEMS, DIMENSION = 22_363, 198_502, 12_101, 384
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SEED = 20261101


def run() -> dict[str, Any]:
    """Seconds of a full recompute, by step, and its peak memory.

    `processor_s` are the processor's seconds of this process (not PostgreSQL's): on a busy machine the wall clock
    tells more of the others.
    """
    users, items = _sequences()
    with _engine() as engine:
        _fill(engine, users, items)
        started = process_time()
        first = recompute_profiles(engine, None, as_of=NOW).as_dict()
        processor = process_time() - started
        again = recompute_profiles(engine, None, as_of=NOW + timedelta(hours=1)).as_dict()
        one = recompute_profiles(engine, None, as_of=NOW + timedelta(hours=2), user_ids=[users[0]]).as_dict()
    figure = first["seconds"]["total"]
    return {
        "name": "profile_recompute",
        "figure": figure,
        "bar": BAR_S,
        "holds": figure <= BAR_S,
        "figures": {
            "users": first["users"],
            "events": first["events"],
            "processor_s": round(processor, 1),
            "load_average": round(os.getloadavg()[0], 1),
            "first_s": first["seconds"],
            "again_s": again["seconds"],
            "one_user_s": one["seconds"],
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
    }


def _sequences() -> tuple[list[str], list[str]]:
    """User and item id of every event, users together, each user's events in order."""
    folder = os.environ.get("PORTRAIT_TEST_DATA")
    path = Path(folder or ".") / "amazon-beauty-2014" / "user_sequence.txt.gz"
    if folder and path.is_file():
        with gzip.open(path, "rt") as lines:
            sequences = [line.split() for line in lines]
        return [s[0] for s in sequences for _ in s[1:]], [item for s in sequences for item in s[1:]]
    generator = np.random.default_rng(SEED)
    user = np.sort(np.concatenate([np.arange(USERS), generator.integers(0, USERS, EVENTS - USERS)]))
    item = (ITEMS * generator.random(EVENTS) ** 2).astype(int)
    return [f"u{n:05d}" for n in user], [f"i{n:05d}" for n in item]


@contextmanager
def _engine() -> Iterator[Engine]:
    home = Path(tempfile.mkdtemp(prefix="pt-"))
    server = EmbeddedPostgres(HomePaths(home))
    try:
        server.start()
        url = server.url().replace("postgresql://", "postgresql+psycopg://", 1)
        upgrade(url)
        engine = make_engine(url)
        yield engine
        engine.dispose()
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _fill(engine: Engine, users: list[str], items: list[str]) -> None:
    """The events, one a day up to now for each user, and items with random vectors, categories, brands and prices."""
    generator = np.random.default_rng(SEED)
    _, first, place, counts = np.unique(users, return_index=True, return_inverse=True, return_counts=True)
    days = (first + counts)[place] - np.arange(len(users))
    catalogue = sorted(set(items))
    n = len(catalogue)
    vectors = generator.normal(size=(n, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    leaf = generator.integers(0, 200, n)
    rows = pa.table(
        {
            "item_id": catalogue,
            "title": [f"Product {c}" for c in catalogue],
            "brand": [f"Brand {b}" for b in generator.integers(0, 2_000, n)],
            "categories": [["Shop", f"Aisle {c // 40}", f"Shelf {c // 8}", f"Leaf {c}"] for c in leaf],
            "price": np.exp(generator.normal(3.0, 0.8, n)),
        }
    )
    events = pa.table(
        {
            "event_id": [f"e{k}" for k in range(len(users))],
            "user_id": users,
            "item_id": items,
            "type": ["purchase"] * len(users),
            "timestamp": pa.array([NOW - timedelta(days=int(d)) for d in days], pa.timestamp("us", tz="UTC")),
        }
    )
    with transaction(engine) as connection:
        upsert_items(connection, rows)
        write_vectors(connection, "bench", catalogue, vectors, [["text"]] * n, NOW - timedelta(days=300))
        insert_events(connection, events)


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
