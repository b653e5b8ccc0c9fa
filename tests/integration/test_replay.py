"""What the gateway served is computed again from Feast's history, to the last value: no server but Ray is left out."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from feast import FeatureStore
from sqlalchemy import text

from benchmarks._random_models import publish_random
from feature_repo import registry_sync
from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.session import make_engine, transaction
from services.features.offline.export import export_lists
from services.features.offline.reader import OfflineReader
from services.features.online import OnlineReader, OnlineWriter
from services.features.online.connection import repo_config
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot, publish
from services.profiles.recompute import recompute_profiles
from services.recommend.replay_lists import replay_lists
from services.registry.registry import ModelRegistry
from services.serve.application import build_app
from services.serve.state import State, open_state

NOW = datetime.now(UTC)
ITEMS, USERS = 30, 6
IDS = [f"item-{n:02d}" for n in range(ITEMS)]


@dataclass
class Shop:
    """A filled shop with its gateway in this process."""

    addresses: Addresses
    paths: HomePaths
    state: State

    def ask(self, user_id: str, **options: object) -> str:
        """The id of a list of eight items."""

        async def post() -> httpx.Response:
            transport = httpx.ASGITransport(app=build_app(self.state))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.post("/v1/recommendations", json={"user_id": user_id, "count": 8, **options})

        answer = asyncio.run(post())
        assert answer.status_code == 200 and not answer.json()["degraded"], answer.text
        return answer.json()["request_id"]


def time_of(user: int, step: int) -> datetime:
    """When a user's event was: the last one some ten hours ago."""
    return NOW - timedelta(hours=30 - 5 * step, minutes=user)


def fill(addresses: Addresses) -> None:
    """Items of three shelves with vectors; each user did five things in the last days."""
    rng = np.random.default_rng(0)
    rows = [(user, step) for user in range(USERS) for step in range(5)]
    items = pa.table(
        {
            "item_id": IDS,
            "title": IDS,
            "brand": [f"brand {n % 4}" for n in range(ITEMS)],
            "categories": pa.array([["all", f"shelf {n % 3}"] for n in range(ITEMS)], pa.list_(pa.string())),
            "price": [10.0 + n for n in range(ITEMS)],
        }
    )
    events = pa.table(
        {
            "event_id": [f"{user}-{step}" for user, step in rows],
            "user_id": [f"user-{user}" for user, _ in rows],
            "item_id": [IDS[(user + 3 * step) % ITEMS] for user, step in rows],
            "type": [("view", "click", "cart", "purchase", "click")[step] for _, step in rows],
            "timestamp": pa.array([time_of(user, step) for user, step in rows], pa.timestamp("us", "UTC")),
        }
    )
    engine = make_engine(addresses.sqlalchemy_url)
    with transaction(engine) as connection:
        upsert_items(connection, items)
        write_vectors(connection, "by-hand", IDS, rng.normal(size=(ITEMS, 8)).astype("f4"), [["text"]] * ITEMS, NOW)
        insert_events(connection, events)
    recompute_profiles(engine, OnlineWriter(addresses), as_of=NOW, keep_states=True)
    engine.dispose()


@pytest.fixture(scope="module")
def shop(database: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    registry_sync.apply(FeatureStore(config=repo_config(database, create_registry=True)))
    fill(database)
    home = tmp_path_factory.mktemp("home")
    paths = HomePaths(home)
    paths.snapshots.mkdir()
    pairs = pa.table({"item_id": IDS[:-3], "neighbour_id": IDS[3:], "score": pa.array([0.5] * (ITEMS - 3), "float32")})
    tables = OfflineReader(database).snapshot_tables(pairs)
    publish(paths.snapshots, build_snapshot(tables, paths.snapshots, now=NOW))
    state = open_state(Settings(home=home), database)
    yield Shop(database, paths, state)
    state.close()


def test_lists_are_computed_again_from_feast_to_the_last_value(shop: Shop, tmp_path: Path) -> None:
    asked = [shop.ask(f"user-{n}") for n in range(3)]
    asked.append(shop.ask("nobody"))
    recent = [{"item_id": "item-07", "type": "click", "timestamp": datetime.now(UTC).isoformat()}]
    asked.append(shop.ask("user-1", recent_events=recent, context={"item_id": "item-04", "note": 1}, diversity=0.4))
    asked.append(shop.ask("user-2", filter={"categories": ["shelf 1"]}, exclude=["item-01"]))
    # a portrait of the live tail, which the history of the offline store does not have
    stored = OnlineReader(shop.addresses).portrait("user-3")
    assert stored is not None
    newer = round(datetime.now(UTC).timestamp(), 6)
    live = msgspec.structs.replace(stored, as_of=newer, recent_items=stored.recent_items[1:])
    OnlineWriter(shop.addresses).write_portraits([live])
    asked.append(shop.ask("user-3"))
    registry = ModelRegistry(shop.paths.models)
    serving = shop.state.snapshots.serving
    assert serving is not None
    publish_random(registry, ItemSnapshot.open(serving.snapshot.folder), "random")
    registry.promote("random", force=True)
    shop.state.snapshots.refresh()
    asked += [shop.ask("user-4"), shop.ask("user-4", recent_events=recent), shop.ask("nobody")]
    shop.state.impressions.close()
    engine = make_engine(shop.addresses.sqlalchemy_url)
    later = datetime.now(UTC) + timedelta(seconds=1)
    history = OfflineReader(shop.addresses)
    folder = export_lists(engine, history, tmp_path, since=NOW - timedelta(days=1), until=later)
    report = replay_lists(folder, shop.paths.snapshots, shop.paths.models, most=100)
    assert report.differences == {} and report.skipped == {}
    assert (report.replayed, report.strangers) == (len(asked), 2) and report.values > 1_000
    with transaction(engine) as connection:  # what differs is found: one stored value is moved by a hair
        connection.execute(
            text(
                "UPDATE served_requests SET features = set_byte(features, 2, get_byte(features, 2) # 64) "
                "WHERE request_id = :id"
            ),
            {"id": asked[0]},
        )
    folder = export_lists(engine, history, tmp_path, since=NOW - timedelta(days=1), until=later)
    assert list(replay_lists(folder, shop.paths.snapshots, shop.paths.models, most=100).differences) == [asked[0]]
    engine.dispose()
