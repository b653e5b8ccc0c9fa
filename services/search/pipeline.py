"""From a query to a page of results: understand, retrieve, filter, rank, sort, count, highlight, explain."""

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from services.search.config import SearchConfig
from services.search.index.search_index import SearchIndex
from services.search.ranking import CandidateRanker
from services.search.request import SearchRequest
from services.search.result import SearchResult


class SearchPipeline:
    """Search over one snapshot and one search index with one ranker. No state between requests: safe to share."""

    def __init__(
        self,
        snapshot: ItemSnapshot,
        index: SearchIndex,
        ranker: CandidateRanker | None = None,
        config: SearchConfig | None = None,
    ) -> None:
        raise NotImplementedError

    def search(
        self,
        portrait: Portrait | None,
        request: SearchRequest,
        query_vector: NDArray[np.float32] | None,
        now: float,
    ) -> SearchResult:
        """The page for one request; `now` in epoch seconds.

        `query_vector` float32 (D,), L2-normalised, in the snapshot's space; None searches by words alone.

        Raises:
            InvalidInput: a query without a single letter or digit, or a cursor of another query.
        """
        raise NotImplementedError

    def candidates(self, portrait: Portrait | None, request: SearchRequest, query_vector: NDArray[np.float32] | None):
        """What the ranker would be asked about for a request: a `RankingInput`."""
        raise NotImplementedError
