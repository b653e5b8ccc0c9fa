"""When a new item snapshot is due: also when only what an ML engineer added to it changed."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from feast import FeatureStore, FeatureView, Field
from feast.types import Float32, String

from feature_repo import names, registry_sync
from feature_repo.entities import item
from feature_repo.sources import table_source
from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.core.types import JobKind
from services.db.session import make_engine, transaction
from services.features.offline.reader import OfflineReader
from services.features.online.connection import repo_config
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_storage import push_snapshot
from services.search import item_terms_store
from services.search.index.search_index import SearchIndex, current_index
from services.search.item_terms import ItemTerms
from services.search.item_terms_store import item_terms_of, terms_name
from services.search.search_storage import push_index
from services.search.text.analyser import Analyser
from services.serve.mirror import Mirror
from services.workers import handlers
from services.workers.due import is_due
from services.workers.handlers import Handlers
from services.workers.stores import Stores

COLUMNS = "(item_id text, event_timestamp timestamptz, created timestamptz DEFAULT clock_timestamp(), return_rate real)"


def view() -> FeatureView:
    return FeatureView(
        name="item_returns",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name=names.ITEM_ID, dtype=String), Field(name="return_rate", dtype=Float32)],
        source=table_source("item_returns", ("return_rate",), "Returns, 100% of them.", key=names.ITEM_ID),
        tags={names.SNAPSHOT_TAG: "yes"},
    )


class Shop:
    """Asks whether a snapshot is due, and runs the job."""

    def __init__(self, database: Addresses, home: Path) -> None:
        self.feast = FeatureStore(config=repo_config(database, create_registry=True))
        registry_sync.apply(self.feast)
        self.engine = make_engine(database.sqlalchemy_url)
        stores = Stores(database, HomePaths(home))
        assert isinstance(stores.reader, OfflineReader)
        self._context = SimpleNamespace(
            addresses=database,
            paths=HomePaths(home),
            encoder_names=[],
            search_language="english",
            engine=self.engine,
            stores=stores,
            storage=None,
        )
        self._url = database.database_url

    def due(self, kind: JobKind = JobKind.SNAPSHOT, **elsewhere: object) -> bool:
        """Whether it is on this host, or where the worker's context differs so."""
        context = SimpleNamespace(**{**vars(self._context), **elsewhere})
        with transaction(self.engine) as connection:
            return is_due(connection, kind, {}, context)

    def build(self, **elsewhere: object) -> None:
        context = SimpleNamespace(**{**vars(self._context), **elsewhere})
        Handlers(context).snapshot({}, lambda share: None)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(statement)


@pytest.fixture
def shop(database: Addresses, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(database, tmp_path)
    shop.execute("INSERT INTO items (item_id, title, attributes) VALUES ('a', 'Lamp', '{}') ON CONFLICT DO NOTHING")
    shop.execute(f"DROP TABLE IF EXISTS item_returns; CREATE TABLE item_returns {COLUMNS}")
    shop.execute("INSERT INTO item_returns VALUES ('a', '2026-11-01T00:00Z', '2026-11-01T00:00Z', 0.1)")
    shop.build()
    yield shop
    shop.engine.dispose()


def test_a_snapshot_is_due_when_a_view_is_registered_for_it_and_not_again(shop: Shop) -> None:
    assert not shop.due()
    shop.feast.apply([view()])
    assert shop.due()
    shop.build()
    assert not shop.due()


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO item_returns VALUES ('a', '2026-11-02T00:00Z', '2026-11-01T00:00Z', 0.2)",
        "UPDATE item_returns SET return_rate = 0.3, created = '2026-11-02T00:00Z'",
        "DELETE FROM item_returns",
    ],
)
def test_a_snapshot_is_due_when_rows_of_such_a_view_changed(shop: Shop, change: str) -> None:
    shop.feast.apply([view()])
    shop.build()
    shop.execute(change)
    assert shop.due()
    shop.build()
    assert not shop.due()


def test_terms_of_changed_titles_are_there_before_the_snapshot_is(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, made = HomePaths(tmp_path), []

    def recorded(snapshot: ItemSnapshot, analyser: Analyser, search: Path) -> ItemTerms:
        made.append((snapshot.version, current_snapshot(paths.snapshots)))
        return item_terms_of(snapshot, analyser, search)

    monkeypatch.setattr(handlers, "item_terms_of", recorded)
    shop.execute("UPDATE items SET title = 'Oil lamp', updated_at = now() WHERE item_id = 'a'")
    shop.build()
    served, index = current_snapshot(paths.snapshots), current_index(paths.search)
    ((version, current),) = made
    assert served is not None and index is not None and served.name == version and served != current
    monkeypatch.setattr(item_terms_store, "build_item_terms", lambda *_: pytest.fail("a gateway made them again"))
    terms = item_terms_of(ItemSnapshot.open(served), SearchIndex.open(index).analyser, paths.search)
    assert set(terms.terms) == {"oil", "lamp"}


def test_the_job_puts_everything_that_gateways_need_into_the_storage(
    shop: Shop, database: Addresses, tmp_path: Path
) -> None:
    storage, paths = ObjectStorage((tmp_path / "bucket").as_uri()), HomePaths(tmp_path / "worker")
    shop.build(storage=storage, paths=paths, stores=Stores(database, paths, storage.url))
    gateway = HomePaths(tmp_path / "gateway")
    Mirror(gateway, storage.url).pull()
    served, index = current_snapshot(gateway.snapshots), current_index(gateway.search)
    assert served == gateway.snapshots / current_snapshot(paths.snapshots).name
    assert index == gateway.search / current_index(paths.search).name
    (terms,) = (path for path in (gateway.search / "terms").iterdir() if path.is_dir())
    assert terms.name == terms_name(ItemSnapshot.open(served), SearchIndex.open(index).analyser)


@pytest.mark.parametrize("kind", [JobKind.SNAPSHOT, JobKind.SEARCH])
def test_a_host_that_shares_no_home_asks_for_no_more_than_the_builder_left_undone(
    shop: Shop, kind: JobKind, tmp_path: Path
) -> None:
    storage = ObjectStorage(f"memory://{uuid.uuid4().hex}")
    paths = HomePaths(tmp_path)
    push_snapshot(current_snapshot(paths.snapshots), storage)
    push_index(paths.search, current_index(paths.search).name, storage)
    elsewhere = {"paths": HomePaths(tmp_path / "elsewhere"), "storage": storage}
    assert not shop.due(kind, **elsewhere)
    shop.execute("UPDATE items SET title = 'Oil lamp', updated_at = now() WHERE item_id = 'a'")
    assert shop.due(kind, **elsewhere)


@pytest.mark.parametrize("kind", [JobKind.SNAPSHOT, JobKind.SEARCH])
def test_what_the_storage_lacks_is_due(shop: Shop, kind: JobKind) -> None:
    assert shop.due(kind, storage=ObjectStorage(f"memory://{uuid.uuid4().hex}"))


def test_a_source_that_went_away_leaves_its_report_to_the_job(shop: Shop) -> None:
    shop.feast.apply([view()])
    shop.build()
    shop.execute("DROP TABLE item_returns")
    assert shop.due()
