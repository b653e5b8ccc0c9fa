"""What is published for search is opened beside the old, and what cannot be opened leaves it in place."""

from pathlib import Path

import pyarrow as pa
import pytest
from search_shop import ITEMS, SECONDS, build_index

from services.core.metrics import ServingMetrics
from services.features.snapshot import ItemSnapshot
from services.recommend.request import RecentEvent
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
    assert Mode.UNPERSONALISED not in searching.search(None, asked, understood, None, SECONDS).modes
    nobody = WireSearch("oak")
    assert Mode.UNPERSONALISED in searching.search(None, nobody, understood, None, SECONDS).modes
