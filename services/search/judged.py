"""Features of judged or shown results, as serving would have made them: what rankers are trained and measured on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait
from services.search.features import FEATURES, query_item_features
from services.search.item_terms import ItemTerms
from services.search.pipeline import SearchPipeline
from services.search.ranking import FusionRanker
from services.search.reader import EmptyQuery, QueryTooLong
from services.search.request import MAX_QUERY, SearchRequest
from services.search.understanding import UnderstoodQuery

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ResultList:
    """One list: the query, who asked (None: nobody known) and its results, distinct indices int32 of the snapshot."""

    query: str
    items: NDArray[np.int32]
    vector: FloatArray | None = None
    portrait: Portrait | None = None


@dataclass(frozen=True)
class ListFeatures:
    """Rows of the lists one after the other: `features` float32 (rows, F); `lexical`, `dense`, `fused` float32 (rows,),
    what simple rankers go by. `corrected` bool (lists,): whether the query was taken for misspelt; `searched`: what was
    searched for."""

    features: FloatArray
    lexical: FloatArray
    dense: FloatArray
    fused: FloatArray
    corrected: NDArray[np.bool_]
    searched: list[str]


def read_queries(
    pipeline: SearchPipeline, queries: Iterable[str], *, correct: bool = True
) -> list[UnderstoodQuery | None]:
    """Each query as search understands it; None for one that cannot be read."""
    return [_read(pipeline, query, correct=correct) for query in queries]


def searched_texts(queries: Iterable[str], understood: Iterable[UnderstoodQuery | None]) -> list[str]:
    """What is searched for, query by query: one that cannot be read as it is."""
    return [query if read is None else read.searched for query, read in zip(queries, understood, strict=True)]


def list_features(
    pipeline: SearchPipeline, terms: ItemTerms, lists: Iterable[ResultList], now: float, *, correct: bool = True
) -> ListFeatures:
    """The features of each list's results, in the list's own order. A query that cannot be read gives rows of zeros."""
    parts: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
    corrected: list[bool] = []
    searched: list[str] = []
    fusion = FusionRanker()
    for each in lists:
        order = np.argsort(each.items, kind="stable")
        back = np.argsort(order, kind="stable")
        request = _request(each.query, correct=correct)
        try:
            asked = pipeline.judge(each.portrait, request, each.vector, now, each.items[order])
        except (EmptyQuery, QueryTooLong):
            nothing = np.zeros(len(back), np.float32)
            parts.append((np.zeros((len(back), len(FEATURES)), np.float32), nothing, nothing, nothing))
            corrected.append(False)
            searched.append(each.query)
            continue
        found = asked.candidates
        features = query_item_features(asked, terms)
        dense, fused = np.nan_to_num(found.dense, nan=-1), fusion.rank(asked).scores
        parts.append((features[back], found.lexical[back], dense[back], fused[back]))
        corrected.append(asked.query.corrected is not None)
        searched.append(asked.query.searched)
    every, lexical, dense, fused = (np.concatenate(column).astype(np.float32) for column in zip(*parts, strict=True))
    return ListFeatures(every, lexical, dense, fused, np.array(corrected, bool), searched)


def _read(pipeline: SearchPipeline, query: str, *, correct: bool) -> UnderstoodQuery | None:
    try:
        return pipeline.read(_request(query, correct=correct))
    except (EmptyQuery, QueryTooLong):
        return None


def _request(query: str, *, correct: bool) -> SearchRequest:
    return SearchRequest(query[:MAX_QUERY], correct=correct)
