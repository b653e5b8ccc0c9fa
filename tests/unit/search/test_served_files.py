"""What is published for search is opened beside the old, and what cannot be opened leaves it in place."""

from pathlib import Path

import pyarrow as pa
import pytest
from search_shop import ITEMS, SECONDS, SPACE, build_index
from test_search_ranker import network

from services.core.metrics import ServingMetrics
from services.core.paths import HomePaths
from services.features.snapshot import ItemSnapshot
from services.recommend.request import RecentEvent
from services.registry.manifest import SEARCH_RANKER, DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import ModelRegistry
from services.registry.search_artefact import RANKER, write_search_ranker
from services.registry.storage import open_search_registry
from services.search.features import FEATURES
from services.search.index.search_index import current_index
from services.search.query_memory import FILE, QueryMemory
from services.search.request import SearchRequest
from services.search.result import Mode
from services.serve.search_request import WireSearch
from services.serve.search_serving import SearchFiles

PAIRS = pa.table({"query": ["oak"], "item_id": ["a2"], "weight": [9.0]})


@pytest.fixture
def files(tmp_path: Path) -> SearchFiles:
    return SearchFiles(tmp_path, tmp_path / "suggest", ServingMetrics())


def found(files: SearchFiles, snapshot: ItemSnapshot, query: str) -> list[str]:
    searching = files.over(snapshot)
    assert searching is not None
    return searching.pipeline.search(None, SearchRequest(query), None, SECONDS).item_ids


def test_nothing_is_served_before_the_first_index(files: SearchFiles, snapshot: ItemSnapshot):
    assert not files.changed()
    assert files.over(snapshot) is None and files.failure is None


def test_a_new_index_is_noticed_and_opened_once(tmp_path: Path, snapshot: ItemSnapshot):
    opened: list[str] = []
    files = SearchFiles(tmp_path, tmp_path / "suggest", ServingMetrics(), on_first=lambda: opened.append("first"))
    build_index(tmp_path, [])
    assert files.over(snapshot) is not None and not opened
    build_index(tmp_path, ITEMS[:3])
    assert files.changed()
    assert sorted(found(files, snapshot, "oak")) == ["a1", "a2"]
    assert not files.changed()
    build_index(tmp_path, ITEMS)
    assert files.changed()
    assert "a4" in found(files, snapshot, "sofa")
    assert opened == ["first"]


def test_query_memory_and_synonyms_are_followed(files: SearchFiles, tmp_path: Path, snapshot: ItemSnapshot):
    build_index(tmp_path)
    searching = files.over(snapshot)
    assert searching is not None and searching.memory is None
    QueryMemory.of(PAIRS).write(tmp_path)
    (tmp_path / "synonyms.toml").write_text('groups = [["sofa", "couch"]]')
    assert files.changed()
    searching = files.over(snapshot)
    assert searching is not None and searching.memory is not None and len(searching.memory) == 1
    assert {"a4", "a5"} <= set(found(files, snapshot, "couch"))
    (tmp_path / "synonyms.toml").write_text("groups = 7")
    assert files.changed()
    assert {"a4", "a5"} <= set(found(files, snapshot, "couch"))


def test_a_damaged_memory_leaves_search_without_it_and_a_damaged_index_is_not_served(
    files: SearchFiles, tmp_path: Path, snapshot: ItemSnapshot
):
    build_index(tmp_path)
    (tmp_path / FILE).write_bytes(b"no archive")
    searching = files.over(snapshot)
    assert searching is not None and searching.memory is None
    folder = current_index(tmp_path)
    assert folder is not None
    (folder / "manifest.json").write_text("{}")
    again = SearchFiles(tmp_path, tmp_path / "suggest", ServingMetrics())
    assert again.over(snapshot) is None
    assert again.failure is not None and not again.changed()


def test_what_a_stranger_has_just_done_counts_in_the_order(files: SearchFiles, tmp_path: Path, snapshot: ItemSnapshot):
    build_index(tmp_path)
    searching = files.over(snapshot)
    assert searching is not None
    asked = WireSearch("oak", recent_events=(RecentEvent("a4"),))
    understood = searching.pipeline.read(asked)
    assert Mode.UNPERSONALISED not in searching.finish(searching.begin(None, asked, understood, None, SECONDS)).modes
    nobody = WireSearch("oak")
    assert Mode.UNPERSONALISED in searching.finish(searching.begin(None, nobody, understood, None, SECONDS)).modes


def publish(registry: ModelRegistry, folder: Path, version: str, **changes: object) -> None:
    write_search_ranker(folder / version, network())
    figures = {"ndcg@10": Measured(0.5, 0.4, 0.6)}
    known = {"space": SPACE, "feature_hash": feature_hash(FEATURES)} | changes
    manifest = ModelManifest(
        version=version,
        created=1.0,
        kind=SEARCH_RANKER,
        config="default",
        seed=0,
        features=FEATURES,
        feature_service="",
        snapshot="",
        data=DataRange(1, 1, 1, "a", "b", "click", version),
        metrics=figures,
        baseline=figures,
        gain=Measured(1.0, 1.0, 1.0),
        epochs=1,
        seconds=1.0,
        **known,
    )
    registry.publish(folder / version, manifest)


class Rankers:
    """Search files with a registry of trained rankers beside them."""

    def __init__(self, folder: Path, snapshot: ItemSnapshot) -> None:
        paths = HomePaths(folder)
        build_index(paths.search)
        self.registry, self.snapshot, self.folder = open_search_registry(paths, None), snapshot, folder
        self.metrics = ServingMetrics()
        self.files = SearchFiles(paths.search, paths.suggest, self.metrics, rankers=paths.search_rankers)

    def answer(self, user_id: str | None = None) -> tuple[str, tuple[Mode, ...], bool]:
        """(the ranker's version, the flags, whether reasons were given) of one search."""
        searching = self.files.over(self.snapshot)
        assert searching is not None
        asked = WireSearch("oak table", user_id=user_id, explain=True)
        found = searching.finish(searching.begin(None, asked, searching.pipeline.read(asked), None, SECONDS))
        assert found.reasons is not None
        return found.versions["ranker"], found.modes, all(found.reasons)


@pytest.fixture
def rankers(tmp_path: Path, snapshot: ItemSnapshot) -> Rankers:
    return Rankers(tmp_path, snapshot)


def test_a_trained_ranker_is_taken_up_when_it_is_promoted_and_left_when_it_is_rolled_back(rankers: Rankers):
    assert rankers.answer()[0] == "untrained-1"
    publish(rankers.registry, rankers.folder / "made", "v1")
    assert not rankers.files.changed()
    rankers.registry.promote("v1")
    assert rankers.files.changed()
    version, modes, explained = rankers.answer()
    assert (version, explained, Mode.RANKER_REFUSED in modes) == ("v1", True, False)
    rankers.registry.rollback()
    assert rankers.files.changed() and rankers.answer()[0] == "untrained-1"


@pytest.mark.parametrize("damage", ["file", "features", "space", "gone"])
def test_a_ranker_that_cannot_serve_leaves_the_untrained_one_and_the_answer_says_so(rankers: Rankers, damage: str):
    changes = {"features": {"feature_hash": "another"}, "space": {"space": "another"}}.get(damage, {})
    publish(rankers.registry, rankers.folder / "made", "v1", **changes)
    rankers.registry.promote("v1")
    if damage == "file":
        (rankers.registry.folder / "v1" / RANKER).write_bytes(b"nothing")
    elif damage == "gone":
        (rankers.registry.folder / "v1" / "manifest.json").unlink()
    version, modes, explained = rankers.answer()
    assert (version, explained, Mode.RANKER_REFUSED in modes) == ("untrained-1", True, True)
    assert rankers.metrics.search_ranker_failures._value.get() == 1
    rankers.registry.promote("untrained")
    assert Mode.RANKER_REFUSED not in rankers.answer()[1]


def test_a_canary_answers_its_share_of_the_users_and_nobody_unnamed(rankers: Rankers):
    publish(rankers.registry, rankers.folder / "made", "v1")
    rankers.registry.try_out("v1", 0.5)
    versions = {user: rankers.answer(f"user-{user}")[0] for user in range(20)}
    assert set(versions.values()) == {"v1", "untrained-1"}
    assert versions == {user: rankers.answer(f"user-{user}")[0] for user in range(20)}
    assert rankers.answer()[0] == "untrained-1"
