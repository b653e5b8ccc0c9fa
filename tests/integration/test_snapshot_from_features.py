"""An item snapshot built from what Feast's offline store holds."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from feast import FeatureStore
from psycopg.types.json import Jsonb

from feature_repo import registry_sync
from services.core.addresses import Addresses
from services.features.offline.reader import OfflineReader
from services.features.online.connection import repo_config
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_build import build_snapshot, publish

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def reader(database: Addresses) -> OfflineReader:
    store = FeatureStore(config=repo_config(database, create_registry=True))
    registry_sync.apply(store)
    return OfflineReader(database, store)


def test_the_snapshot_holds_the_latest_rows_of_the_item_views(
    database: Addresses, reader: OfflineReader, tmp_path: Path
) -> None:
    empty = build_snapshot(reader.snapshot_tables(), tmp_path, now=NOW)
    assert ItemSnapshot.open(publish(tmp_path, empty)).count == 0
    with psycopg.connect(database.database_url) as connection:
        connection.execute(
            "INSERT INTO items (item_id, title, brand, categories, price, currency, attributes, published_at) VALUES "
            "('ä', 'Crème \"fraîche\", 2', 'Zed', '{Food,\"Fresh, cold\"}', 2.5, 'EUR', %s, %s), "
            "('b', 'Bare', NULL, '{}', NULL, NULL, '{}', NULL)",
            (Jsonb({"organic": True, "sizes": [1, 2.0]}), NOW),
        )
        for popularity, moment in ((0.25, datetime(2026, 1, 1, tzinfo=UTC)), (0.75, NOW)):
            connection.execute(
                "INSERT INTO item_engagement (item_id, event_timestamp, popularity) VALUES ('ä', %s, %s)",
                (moment, popularity),
            )
        connection.execute(
            "INSERT INTO item_vectors (item_id, event_timestamp, space, modalities, vector, checked_at) VALUES "
            "('ä', now(), 's', '{text}', %s, now())",
            (np.array([3, 4], "<f4").tobytes(),),
        )
    pairs = pa.table({"item_id": ["ä"], "neighbour_id": ["b"], "score": pa.array([0.5], pa.float32())})
    version = build_snapshot(reader.snapshot_tables(pairs), tmp_path, now=NOW)
    publish(tmp_path, version)
    folder = current_snapshot(tmp_path)
    assert folder is not None and folder.name == version
    snapshot = ItemSnapshot.open(folder)
    assert list(snapshot.item_ids) == ["b", "ä"]
    cream = snapshot.index_of("ä")
    assert snapshot.titles[cream] == 'Crème "fraîche", 2'
    assert snapshot.categories_of(cream) == ["Food", "Fresh, cold"]
    assert sorted(snapshot.attribute_names) == ["organic=true", "sizes=1", "sizes=2"]
    assert snapshot.engagement_column("popularity")[cream] == 0.75
    np.testing.assert_allclose(snapshot.vectors[cream], [0.6, 0.8], atol=0.005)
    assert snapshot.published_at[cream] == NOW.timestamp()
    assert snapshot.newest.tolist() == [0, 1] or snapshot.newest.tolist() == [1, 0]
    assert snapshot.neighbours[cream].tolist() == [snapshot.index_of("b")]
    assert np.isnan(snapshot.price[0]) and snapshot.currency == "EUR"
