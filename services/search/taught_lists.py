"""What a search ranker learns from: what a search showed, and others that it might have shown, by the features that
serving would compute."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait
from services.search.features import FEATURES, query_item_features
from services.search.item_terms import ItemTerms
from services.search.pipeline import SearchPipeline
from services.search.reader import EmptyQuery, QueryTooLong
from services.search.request import MAX_QUERY, SearchRequest

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ShownSearch:
    """`items` int32: distinct indices of the snapshot, as they were shown at `now` (epoch seconds). `portrait`: of who
    asked, as it was then; `vector`: of the query."""

    query: str
    items: NDArray[np.int32]
    now: float
    vector: FloatArray | None = None
    portrait: Portrait | None = None


@dataclass(frozen=True)
class TaughtLists:
    """Lists one after the other from `starts` int64 (lists + 1,): `features` float32 (rows, F); `item` int32 (rows,)
    indices of the snapshot; `place` int64 (rows,): which of the search's `items` a row is, −1 for a candidate that was
    not shown. `searched` (lists,): what was searched for."""

    features: FloatArray
    starts: NDArray[np.int64]
    place: NDArray[np.int64]
    item: NDArray[np.int32]
    searched: list[str]


def taught_lists(
    pipeline: SearchPipeline, terms: ItemTerms, searches: Iterable[ShownSearch], *, others: int, seed: int = 0
) -> TaughtLists:
    """The list of each search, in order: what was shown, then at most `others` drawn from the other candidates.

    A ranker that had seen shown results alone, which all hold the query's words, would not know what words are worth.
    A query that cannot be read any more gives an empty list.
    """
    rng = np.random.default_rng(seed)
    parts: list[FloatArray] = [np.empty((0, len(FEATURES)), np.float32)]
    places: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    rows_of: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    searched: list[str] = []
    counts = []
    for search in searches:
        request = SearchRequest(search.query[:MAX_QUERY])
        try:
            candidates = pipeline.candidates(search.portrait, request, search.vector, search.now)
        except (EmptyQuery, QueryTooLong):
            counts.append(0)
            searched.append(search.query)
            continue
        found = candidates.candidates.indices
        rest = np.setdiff1d(found, search.items)
        drawn = rng.choice(rest, min(others, rest.size), replace=False)
        rows = np.concatenate((search.items, drawn)).astype(np.int32)
        order = np.argsort(rows, kind="stable")
        asked = pipeline.judge(search.portrait, request, search.vector, search.now, rows[order])
        features = np.empty((rows.size, len(FEATURES)), np.float32)
        features[order] = query_item_features(asked, terms)
        parts.append(features)
        places.append(np.concatenate((np.arange(search.items.size), np.full(drawn.size, -1))))
        rows_of.append(rows)
        searched.append(candidates.query.searched)
        counts.append(rows.size)
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    return TaughtLists(np.concatenate(parts), starts, np.concatenate(places), np.concatenate(rows_of), searched)
