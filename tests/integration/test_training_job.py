"""The training job: from the database to a published version that a gateway can serve."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.core.errors import InvalidInput, NotReady
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.session import make_engine, transaction
from services.registry.registry import ModelRegistry
from services.workers.handlers import Handlers

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS, USERS, STEPS = 40, 240, 5


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    with transaction(made) as connection:
        connection.execute(text("TRUNCATE events, event_keys, items, item_vectors"))
    yield made
    made.dispose()


@pytest.fixture
def handlers(engine: Engine, tmp_path: Path) -> Handlers:
    return Handlers(SimpleNamespace(engine=engine, settings=Settings(home=tmp_path, mlflow_tracking_uri="none")))


def fill(engine: Engine) -> None:
    """Whoever buys an item buys the one three further on next."""
    ids = [f"item-{n:02d}" for n in range(ITEMS)]
    rows = [(u, s) for u in range(USERS) for s in range(STEPS)]
    events = pa.table(
        {
            "event_id": [f"{u}-{s}" for u, s in rows],
            "user_id": [f"user-{u:03d}" for u, _ in rows],
            "item_id": [ids[(u + 3 * s) % ITEMS] for u, s in rows],
            "type": ["purchase"] * len(rows),
            "timestamp": pa.array([START + timedelta(days=s, minutes=u) for u, s in rows], pa.timestamp("us", "UTC")),
        }
    )
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 8)).astype(np.float32)
    with transaction(engine) as connection:
        upsert_items(connection, pa.table({"item_id": ids, "title": ids}))
        write_vectors(connection, "by-hand", ids, vectors, [["text"]] * ITEMS, START)
        insert_events(connection, events)


def test_a_job_trains_publishes_and_promotes(engine: Engine, handlers: Handlers, tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no events"):
        handlers.train({}, lambda share: None)
    fill(engine)
    with pytest.raises(InvalidInput, match="configuration"):
        handlers.train({"config": "huge"}, lambda share: None)
    shares: list[float] = []
    result = handlers.train({"config": "small", "promote": True}, shares.append)
    registry = ModelRegistry(HomePaths(tmp_path).models)
    manifest = registry.load(result["version"]).manifest
    assert (manifest.data.events, manifest.data.target, manifest.space) == (USERS * STEPS, "purchase", "by-hand")
    assert result["metrics"]["recall@10"] > 0.5
    assert result["promoted"] == (registry.rollout().champion == result["version"])
    assert shares == sorted(shares) and 0 < shares[-1] < 1
