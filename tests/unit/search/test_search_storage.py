"""Search through object storage: one home publishes, another serves it, a third brings it up to date."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from search_shop import ITEMS, NOW, SECONDS, build_snapshot, item_table

from services.cli.doctor import check_storage
from services.core.errors import ConfigurationError, CorruptArtefact, DependencyDown, NotFound, NotReady
from services.core.metrics import ServingMetrics
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.core.storage import ObjectStorage
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_storage import push_snapshot
from services.features.stored_file import pull_file, push_file
from services.features.stored_versions import pull_version, push_version
from services.search import item_terms_store
from services.search.catalogue_state import state_version, write_state
from services.search.index import build
from services.search.index.search_index import SearchIndex, current_index
from services.search.item_terms_store import item_terms_of
from services.search.query_memory import FILE as MEMORY
from services.search.query_memory import QueryMemory
from services.search.request import SearchRequest
from services.search.search_storage import (
    INDEXES,
    SUGGESTIONS,
    TERMS,
    follow_index,
    publish_terms,
    pull_synonyms,
    push_index,
    push_memory,
    push_synonyms,
)
from services.search.suggest.build import MANIFEST, build_suggestions
from services.search.suggest.suggester import Suggester
from services.search.synonyms import FILE as SYNONYMS
from services.search.text.analyser import Analyser
from services.serve.mirror import Mirror
from services.serve.search_serving import SearchFiles
from services.workers.search_shop import open_shop

COUCH = b'groups = [["sofa", "couch"]]'


@pytest.fixture
def storage(tmp_path: Path) -> ObjectStorage:
    return ObjectStorage((tmp_path / "bucket").as_uri())


def versions_of(rows: list[tuple]) -> pa.Table:
    return pa.table({"item_id": [row[0] for row in rows], "updated_at": [NOW] * len(rows)})


def built(search: Path, rows: list[tuple] = ITEMS, hours: int = 0) -> str:
    """The name of an index of these items, with what it was made of beside it."""
    version = build.build_index(item_table(rows), search, now=NOW + timedelta(hours=hours))
    write_state(search, version, versions_of(rows))
    build.publish(search, version)
    return version


class Gateway:
    """A host that has nothing but what it fetches, and a snapshot."""

    def __init__(self, home: Path, storage: ObjectStorage) -> None:
        self.paths = HomePaths(home)
        self.mirror = Mirror(self.paths, storage.url)
        self.files = SearchFiles(self.paths.search, self.paths.suggest, ServingMetrics())
        self._snapshot: ItemSnapshot = build_snapshot(home / "apart")

    def found(self, query: str) -> list[str]:
        self.mirror.pull()
        searching = self.files.over(self._snapshot)
        assert searching is not None
        return sorted(searching.pipeline.search(None, SearchRequest(query), None, SECONDS).item_ids)


@pytest.fixture
def gateway(tmp_path: Path, storage: ObjectStorage) -> Gateway:
    return Gateway(tmp_path / "gateway", storage)


def test_one_builds_one_serves_one_updates_and_the_gateway_swaps(
    gateway: Gateway, storage: ObjectStorage, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    push_index(first, built(first, ITEMS[:2]), storage)
    assert gateway.found("oak") == ["a1", "a2"]
    followed, damaged = follow_index(second, storage)
    assert followed is not None and followed.name == state_version(second) and not damaged
    updated = build.update_index(item_table(ITEMS[3:4]), ["a2"], second, now=NOW + timedelta(hours=1))
    write_state(second, updated, versions_of([ITEMS[0], ITEMS[3]]))
    push_index(second, updated, storage)
    assert gateway.files.changed() is False
    assert gateway.found("oak") == ["a1"] and gateway.found("sofa") == ["a4"]
    assert follow_index(first, storage)[0] == current_index(first) == first / updated
    assert state_version(first) == updated


def test_training_on_a_host_that_has_nothing_fetches_what_it_needs(storage: ObjectStorage, tmp_path: Path) -> None:
    worker, trainer = HomePaths(tmp_path / "worker"), HomePaths(tmp_path / "trainer")
    settings = Settings(home=trainer.home, storage_url=storage.url)
    encoders = SimpleNamespace(space="another")
    with pytest.raises(NotReady):
        open_shop(settings, encoders)
    build_snapshot(worker.snapshots)
    push_snapshot(current_snapshot(worker.snapshots), storage)
    push_index(worker.search, built(worker.search), storage)
    QueryMemory.of(pa.table({"query": ["oak"], "item_id": ["a2"], "weight": [9.0]})).write(worker.search)
    push_memory(worker.search, storage)
    (worker.search / SYNONYMS).write_bytes(COUCH)
    push_synonyms(worker.search / SYNONYMS, storage)
    shop = open_shop(settings, encoders)
    assert sorted(shop.pipeline.search(None, SearchRequest("couch"), None, SECONDS).item_ids) == ["a4", "a5"]
    assert shop.search == trainer.search and len(QueryMemory.read(shop.search) or ()) == 1


def test_segments_of_the_index_before_are_linked(storage: ObjectStorage, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    push_index(here, built(here), storage)
    before = pull_version(INDEXES, there, storage)
    updated = build.update_index(item_table([("new", "Rug", *ITEMS[0][2:])]), [], here, now=NOW + timedelta(hours=1))
    write_state(here, updated, versions_of(ITEMS))
    push_index(here, updated, storage)
    after = pull_version(INDEXES, there, storage)
    stores = [path.name for path in (before / "tantivy").glob("*.store")]
    assert stores and all((after / "tantivy" / name).samefile(before / "tantivy" / name) for name in stores)
    assert SearchIndex.open(after).count == len(ITEMS) + 1


def test_an_upload_that_broke_off_is_never_seen(
    gateway: Gateway, storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = tmp_path / "worker"
    push_index(search, built(search, ITEMS[:2]), storage)
    before = gateway.found("oak")
    newer = built(search, ITEMS, hours=1)
    for file in ("keys.npy", "items.parquet", "current"):
        with monkeypatch.context() as broken:
            breaks_at(broken, file)
            with pytest.raises(DependencyDown):
                push_index(search, newer, storage)
        assert gateway.found("oak") == before and gateway.mirror.failure is None
    push_index(search, newer, storage)
    assert gateway.found("lamp") == ["a3"]


def breaks_at(patch: pytest.MonkeyPatch, file: str) -> None:
    """Let the storage take nothing from this file on."""
    whole_put, whole_write = LocalFileSystem.put_file, ObjectStorage.write

    def put_file(self: LocalFileSystem, source: str, target: str, **rest: object) -> None:
        if source.endswith(f"/{file}"):
            Path(target).write_bytes(Path(source).read_bytes()[:10])
            raise OSError("the line went dead")
        whole_put(self, source, target, **rest)

    def write(self: ObjectStorage, name: str, data: bytes) -> None:
        if name.endswith(f"/{file}"):
            raise DependencyDown("the line went dead")
        whole_write(self, name, data)

    patch.setattr(LocalFileSystem, "put_file", put_file)
    patch.setattr(ObjectStorage, "write", write)


def test_a_damaged_index_leaves_what_serves_and_the_rest_comes_all_the_same(
    gateway: Gateway, storage: ObjectStorage, tmp_path: Path
) -> None:
    search = tmp_path / "worker"
    push_index(search, built(search, ITEMS[:2]), storage)
    assert gateway.found("couch") == []
    newer = built(search, ITEMS[:3], hours=1)
    push_index(search, newer, storage)
    storage.write(f"search/{newer}/keys.npy", b"cut")
    storage.write(f"synonyms/{SYNONYMS}", b'groups = [["oak", "couch"]]')
    assert gateway.found("couch") == ["a1", "a2"]
    assert gateway.mirror.failure is not None and "keys.npy" in gateway.mirror.failure
    push_version(INDEXES, search / newer, storage, again=True)
    assert gateway.found("lamp") == ["a3"] and gateway.mirror.failure is None


def test_the_storage_keeps_three_indexes(storage: ObjectStorage, tmp_path: Path) -> None:
    made = [built(tmp_path, ITEMS[: n + 1], hours=n) for n in range(5)]
    for version in made:
        push_index(tmp_path, version, storage)
    assert storage.folders("search") == made[2:]


def test_suggestions_come_and_those_that_name_no_files_are_refused(storage: ObjectStorage, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    version = build_suggestions(item_table(), {"oak table": 3}, here, now=NOW)
    push_version(SUGGESTIONS, here / version, storage)
    fetched = pull_version(SUGGESTIONS, there, storage)
    assert fetched is not None and Suggester(fetched).suggest("oak t")[0].text == "oak table"
    storage.write(
        "suggest/old/manifest.json", b'{"format":1,"version":"old","created":1.0,"count":0,"language":"none"}'
    )
    storage.write("suggest/current", b"old")
    with pytest.raises(CorruptArtefact, match="names no files"):
        pull_version(SUGGESTIONS, there, storage)
    assert (fetched / MANIFEST).is_file()


def test_the_query_memory_is_fetched_once_and_only_whole(storage: ObjectStorage, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there" / MEMORY
    QueryMemory.of(pa.table({"query": ["oak"], "item_id": ["a2"], "weight": [9.0]})).write(here)
    pull_file(there, "query-memory", storage)
    assert not there.exists()
    push_memory(here, storage)
    pull_file(there, "query-memory", storage)
    fetched = there.stat().st_mtime_ns
    pull_file(there, "query-memory", storage)
    memory = QueryMemory.read(there.parent)
    assert memory is not None and memory.item_ids == ["a2"] and there.stat().st_mtime_ns == fetched
    (here / MEMORY).write_bytes(b"another")
    push_file(here / MEMORY, "query-memory", storage)
    (version,) = (
        v for v in storage.folders("query-memory") if storage.read(f"query-memory/{v}/{MEMORY}") == b"another"
    )
    storage.write(f"query-memory/{version}/{MEMORY}", b"anot")
    with pytest.raises(CorruptArtefact):
        pull_file(there, "query-memory", storage)
    assert there.stat().st_mtime_ns == fetched


def test_the_storages_synonyms_win_and_what_they_replace_stays_beside_them(
    storage: ObjectStorage, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / SYNONYMS).write_bytes(COUCH)
    (there / SYNONYMS).write_text("groups = []")
    pull_synonyms(there, storage)
    assert (there / SYNONYMS).read_text() == "groups = []"
    push_synonyms(here / SYNONYMS, storage)
    pull_synonyms(there, storage)
    assert (there / SYNONYMS).read_bytes() == COUCH
    assert (there / f"{SYNONYMS}.replaced").read_text() == "groups = []"


def test_synonyms_that_cannot_be_read_are_not_published(storage: ObjectStorage, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        push_synonyms(tmp_path / SYNONYMS, storage)
    (tmp_path / SYNONYMS).write_text("groups = 7")
    with pytest.raises(ConfigurationError):
        push_synonyms(tmp_path / SYNONYMS, storage)
    assert storage.read(f"synonyms/{SYNONYMS}") is None


def test_the_doctor_says_what_the_storage_has_and_what_is_wrong_with_it(storage: ObjectStorage, tmp_path: Path) -> None:
    assert check_storage(storage.url).level == "ok" and "none yet" in check_storage(storage.url).found
    version = built(tmp_path / "search")
    push_index(tmp_path / "search", version, storage)
    assert f"search index {version}" in check_storage(storage.url).found
    storage.write("search/current", b"gone")
    assert (check_storage(storage.url).level, "search/gone" in check_storage(storage.url).found) == ("wrong", True)
    (tmp_path / "file").write_text("no folder")
    assert check_storage((tmp_path / "file" / "x").as_uri()).level == "wrong"


def test_terms_of_titles_come_before_the_snapshot_and_are_made_once(
    storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, worker, gateway = build_snapshot(tmp_path / "snapshots"), tmp_path / "worker", tmp_path / "gateway"
    publish_terms(snapshot, Analyser(), worker, storage)
    publish_terms(snapshot, Analyser(), worker, storage)
    (name,) = storage.folders("search-terms")
    storage.write(f"search-terms/{name}/rank-codes.npy", b"damaged")
    with pytest.raises(CorruptArtefact):
        pull_version(TERMS, gateway / "terms", storage)
    publish_terms(snapshot, Analyser(), tmp_path / "another", storage)
    pull_version(TERMS, gateway / "terms", storage)
    monkeypatch.setattr(item_terms_store, "build_item_terms", lambda *_: pytest.fail("a gateway made them again"))
    assert item_terms_of(snapshot, Analyser(), gateway).terms
    publish_terms(snapshot, Analyser(), tmp_path / "third", storage)
