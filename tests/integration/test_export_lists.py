"""The data set of served lists on real servers: point-in-time correct by version, and blind to whatever came later."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from feast import FeatureStore
from sqlalchemy import Connection, Engine, text

from feature_repo import names, registry_sync
from services.core.addresses import Addresses
from services.core.errors import CorruptArtefact
from services.db.events import insert_events
from services.db.impressions import ServedList, insert_impressions
from services.db.served_requests import LoggedRequest, insert_served_requests, keep_portraits
from services.db.session import make_engine, transaction
from services.features.offline.export import export_lists, prune_datasets
from services.features.offline.reader import OfflineReader
from services.features.online.connection import repo_config
from services.features.portrait import Portrait, pack
from services.features.served_lists import DATA, PORTRAIT, read_lists, read_manifest

CUT = datetime(2026, 3, 8, 12, 0, 0, 250_001, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def history(database: Addresses) -> OfflineReader:
    registry_sync.apply(FeatureStore(config=repo_config(database, create_registry=True)))
    return OfflineReader(database)


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    with transaction(made) as connection:
        connection.execute(
            text("TRUNCATE served_requests, impressions, serving_features, item_engagement, events, event_keys, users")
        )
    yield made
    made.dispose()


def portrait(user_id: str, as_of: datetime, events: int = 1) -> tuple[str, float, bytes]:
    made = Portrait(user_id, as_of.timestamp(), None, events, 0.5, "active")
    return user_id, made.as_of, pack(made)


def serve(connection: Connection, request_id: str, user_id: str, at: datetime, portrait_at: datetime | None) -> None:
    """A list of two items, logged with the version of the portrait that it read."""
    shown = (["a", "b"], [2.0, 1.0], [1.0, 0.5], [["popular"], []])
    insert_impressions(connection, [ServedList(request_id, user_id, None, at.timestamp(), "learned@v1", *shown)])
    version = None if portrait_at is None else portrait_at.timestamp()
    features = np.float32([[1], [2]]).tobytes()
    logged = LoggedRequest(request_id, user_id, at.timestamp(), version, "s1", "v1", "hash", b"{}", features, None)
    insert_served_requests(connection, [logged])


def happened(connection: Connection, event_id: str, request_id: str, item_id: str, at: datetime, kind: str = "click"):
    row = {"event_id": event_id, "user_id": "ada", "item_id": item_id, "type": kind, "request_id": request_id}
    insert_events(connection, pa.Table.from_pylist([row | {"timestamp": at}]))


def shop(connection: Connection) -> None:
    """Ada's portrait of 11:50 was read at 11:58 and 11:59, though there was one of 11:57 that was not online yet."""
    keep_portraits(connection, [portrait("ada", CUT - 10 * MINUTE, 1), portrait("ada", CUT - 3 * MINUTE, 2)])
    serve(connection, "r1", "ada", CUT - 2 * MINUTE, CUT - 10 * MINUTE)
    serve(connection, "r2", "ada", CUT - MINUTE, CUT - 10 * MINUTE)
    serve(connection, "r3", "new", CUT - MINUTE, None)
    serve(connection, "r4", "ada", CUT - MINUTE / 2, CUT - 3 * MINUTE)
    serve(connection, "r5", "gone", CUT - MINUTE / 3, CUT - 9 * MINUTE)
    happened(connection, "e1", "r1", "b", CUT - MINUTE)


def exported(engine: Engine, history: OfflineReader, folder: Path, until: datetime = CUT) -> Path:
    return export_lists(engine, history, folder, since=CUT - timedelta(days=1), until=until)


def rows_of(folder: Path) -> dict[str, dict]:
    return {row["request_id"]: row for batch in read_lists(folder) for row in batch.to_pylist()}


def test_each_list_has_the_portrait_that_its_request_read(
    engine: Engine, history: OfflineReader, tmp_path: Path
) -> None:
    with transaction(engine) as connection:
        shop(connection)
        # an older portrait must not stand in for the version that is gone from the history
        keep_portraits(connection, [portrait("gone", CUT - 20 * MINUTE)])
    folder = exported(engine, history, tmp_path)
    rows, manifest = rows_of(folder), read_manifest(folder)
    early, late = portrait("ada", CUT - 10 * MINUTE, 1)[2], portrait("ada", CUT - 3 * MINUTE, 2)[2]
    assert {name: row[PORTRAIT] for name, row in rows.items()} == {
        "r1": early, "r2": early, "r3": None, "r4": late, "r5": None,
    }  # fmt: skip
    assert (rows["r1"]["event_items"], rows["r1"]["event_types"]) == (["b"], ["click"])
    assert rows["r2"]["event_items"] == [] and rows["r1"]["propensities"] == [1.0, 0.5]
    assert (manifest.lists, manifest.labelled, manifest.without_portrait) == (5, 1, 1)
    assert manifest.feature_service == names.RETRIEVAL_SERVICE and folder.name == manifest.digest[:16]
    assert manifest.service_hash == history.service_hash(names.RETRIEVAL_SERVICE)
    only = next(read_lists(folder, ["user_id", "features"]))
    assert only.schema.names == ["user_id", "features"]


def test_nothing_that_came_after_the_cut_changes_the_data_set(
    engine: Engine, history: OfflineReader, tmp_path: Path
) -> None:
    with transaction(engine) as connection:
        shop(connection)
    before = read_manifest(exported(engine, history, tmp_path)).digest
    with transaction(engine) as connection:
        keep_portraits(connection, [portrait("ada", CUT + MINUTE, 9), portrait("new", CUT + MINUTE, 9)])
        keep_portraits(connection, [portrait("new", CUT - MINUTE / 4, 9)])  # computed before the cut, read by nobody
        serve(connection, "r9", "ada", CUT, CUT - 3 * MINUTE)
        serve(connection, "r10", "ada", CUT + MINUTE, CUT + MINUTE)
        happened(connection, "e2", "r1", "a", CUT, "purchase")
        happened(connection, "e3", "r2", "a", CUT + timedelta(days=3))
        connection.execute(
            text("INSERT INTO item_engagement (item_id, event_timestamp, popularity) VALUES ('a', :at, 1)"),
            {"at": CUT + MINUTE},
        )
    assert read_manifest(exported(engine, history, tmp_path)).digest == before
    later = read_manifest(exported(engine, history, tmp_path, until=CUT + timedelta(days=9)))
    assert later.digest != before and (later.lists, later.labelled) == (7, 2)


def test_a_damaged_data_set_is_made_again_and_old_ones_go(
    engine: Engine, history: OfflineReader, tmp_path: Path
) -> None:
    with transaction(engine) as connection:
        shop(connection)
    folder = exported(engine, history, tmp_path)
    content = (folder / DATA).read_bytes()
    (folder / DATA).write_bytes(content[:-1])
    with pytest.raises(CorruptArtefact, match="features export"):
        read_manifest(folder)
    assert exported(engine, history, tmp_path) == folder and (folder / DATA).read_bytes() == content
    exported(engine, history, tmp_path, until=CUT - MINUTE)
    prune_datasets(tmp_path, keep=1)
    assert [path for path in tmp_path.iterdir() if path != folder] and not folder.exists()


def test_a_shop_without_lists_makes_an_empty_data_set(engine: Engine, history: OfflineReader, tmp_path: Path) -> None:
    folder = exported(engine, history, tmp_path)
    assert read_manifest(folder).lists == 0 and list(read_lists(folder)) == []
