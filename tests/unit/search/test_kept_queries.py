"""What queries found is kept, whoever asked; who asks counts each time."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from search_shop import SECONDS, portrait, vector

from services.features.filters import ItemFilter
from services.features.snapshot import ItemSnapshot
from services.search.config import SearchConfig
from services.search.index.search_index import SearchIndex
from services.search.item_terms_build import build_item_terms
from services.search.kept_queries import EACH, LARGEST, KeptQueries
from services.search.pipeline import SearchPipeline
from services.search.ranker import UntrainedRanker
from services.search.request import FacetName, SearchRequest
from services.search.retrieval import Retrieved

MEANING = vector(0.6, 0, 0.8, 0)
REQUESTS = (
    SearchRequest("oak table", facets=tuple(FacetName), explain=True),
    SearchRequest("oak table", count=1),
    SearchRequest("oak table", filter=ItemFilter(available=None)),
    SearchRequest("couch"),
    SearchRequest("bosch", operators=True),
)


def pipeline_of(snapshot: ItemSnapshot, index: SearchIndex, **config: int) -> SearchPipeline:
    ranker = UntrainedRanker(build_item_terms(snapshot.titles, index.analyser))
    return SearchPipeline(snapshot, index, ranker, replace(SearchConfig(), **config))


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("meaning", [None, MEANING])
def test_a_query_that_is_kept_is_answered_as_it_was_found(
    snapshot: ItemSnapshot, index: SearchIndex, request_: SearchRequest, meaning: np.ndarray | None
) -> None:
    keeping, forgetting = pipeline_of(snapshot, index), pipeline_of(snapshot, index, kept_query_bytes=0)
    for user in (None, portrait(), None):
        found, fresh = (each.search(user, request_, meaning, SECONDS) for each in (keeping, forgetting))
        assert msgspec.json.encode(replace(found, stages={})) == msgspec.json.encode(replace(fresh, stages={}))


def test_candidates_and_their_word_features_are_made_once(
    snapshot: ItemSnapshot, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, made = pipeline_of(snapshot, index), []
    retrieve = pipeline._retriever.retrieve
    monkeypatch.setattr(pipeline._retriever, "retrieve", lambda *given: made.append(given[0]) or retrieve(*given))
    first, again = (pipeline.begin(user, SearchRequest("oak table"), MEANING, SECONDS) for user in (None, portrait()))
    assert len(made) == 1 and first.asked.word_features is again.asked.word_features
    assert again.asked.user is not None and len(first.asked.word_features) == 1
    pipeline.begin(None, SearchRequest("oak table"), None, SECONDS)
    assert len(made) == 2, "without a vector it is another query"


def test_the_room_is_kept_to_and_the_oldest_goes_first(pipeline: SearchPipeline) -> None:
    found = pipeline.begin(None, SearchRequest("couch"), None, SECONDS).found
    size = EACH + 10 * len(found.candidates) + found.nbytes
    kept, made = KeptQueries(round(65 * size), 10), []

    def find(key: int) -> Retrieved:
        made.append(key)
        return found

    for key in (*range(65), 0, 65, 0, 1):
        kept.get(key, lambda key=key: find(key))
    assert made == [*range(66), 1]
    assert kept._taken <= 65 * size
    narrow = KeptQueries(round(size / LARGEST) - 65, 10)
    for _ in range(2):
        narrow.get("too large", lambda: find(-1))
    assert made[-2:] == [-1, -1]
