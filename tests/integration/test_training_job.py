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
from services.db.impressions import ServedList, insert_impressions
from services.db.items import upsert_items
from services.db.served_requests import LoggedRequest, insert_served_requests
from services.db.session import make_engine, transaction
from services.features.served_lists import read_manifest
from services.registry.registry import ModelRegistry
from services.workers.handlers import Handlers

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS, USERS, STEPS = 40, 240, 5


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    with transaction(made) as connection:
        connection.execute(text("TRUNCATE events, event_keys, items, item_vectors, impressions, served_requests"))
    yield made
    made.dispose()


@pytest.fixture
def handlers(engine: Engine, tmp_path: Path) -> Handlers:
    history = SimpleNamespace(service_hash=lambda name: f"hash of {name}")  # a stranger's list asks for no portrait
    settings = Settings(home=tmp_path, mlflow_tracking_uri="none")
    stores = SimpleNamespace(reader=history)
    return Handlers(SimpleNamespace(engine=engine, paths=HomePaths(tmp_path), settings=settings, stores=stores))


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


def serve(engine: Engine) -> None:
    """One list, served two hours ago."""
    at = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    with transaction(engine) as connection:
        shown = (["item-00"], [1.0], [1.0], [[]])
        insert_impressions(connection, [ServedList("r1", "user-000", None, at, "learned@v1", *shown)])
        insert_served_requests(
            connection, [LoggedRequest("r1", "user-000", at, None, "s", "v1", "hash", b"{}", b"\0" * 4, None)]
        )


def test_a_job_trains_publishes_and_promotes(engine: Engine, handlers: Handlers, tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no events"):
        handlers.train({}, lambda share: None)
    fill(engine)
    with pytest.raises(InvalidInput, match="configuration"):
        handlers.train({"config": "huge"}, lambda share: None)
    serve(engine)
    shares: list[float] = []
    result = handlers.train({"config": "small", "promote": True}, shares.append)
    registry = ModelRegistry(HomePaths(tmp_path).models)
    manifest = registry.load(result["version"]).manifest
    assert (manifest.data.events, manifest.data.target, manifest.space) == (USERS * STEPS, "purchase", "by-hand")
    assert result["metrics"]["recall@10"] > 0.5
    assert result["promoted"] == (registry.rollout().champion == result["version"])
    (dataset,) = HomePaths(tmp_path).datasets.iterdir()
    assert (read_manifest(dataset).lists, read_manifest(dataset).service_hash) == (1, "hash of retrieval")
    assert (result["taught_by"], manifest.taught_by) == ("candidates", "candidates")  # one list is too few
    assert shares == sorted(shares) and 0 < shares[-1] < 1
