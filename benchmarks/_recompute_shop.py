"""A shop in a PostgreSQL of its own, for recomputes: events, and items with random vectors."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from services.core.paths import HomePaths
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.migrate import upgrade
from services.db.session import make_engine, transaction
from services.runtime.postgres import EmbeddedPostgres

DIMENSION = 384
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SEED = 20261101


@contextmanager
def recompute_engine() -> Iterator[Engine]:
    """A migrated, empty database, gone afterwards."""
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


def fill(engine: Engine, users: list[str], items: list[str]) -> None:
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
