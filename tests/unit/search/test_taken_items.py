"""What people took after asking the same is a candidate and lifted, within the request's filter."""

import numpy as np
from search_shop import IDS, SECONDS

from services.features.filters import ItemFilter, PriceRange
from services.search.request import SearchRequest


class Taken:
    """After "oak" people took the couch, and the lamp a little."""

    def items_of(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        rows = [IDS.index("a5"), IDS.index("a3")] if query == "oak" else []
        return np.array(rows, np.int32), np.array([9.0, 1.0][: len(rows)], np.float32)

    def strengths(self, query: str, rows: np.ndarray) -> np.ndarray:
        found, weights = self.items_of(query)
        return np.array([dict(zip(found.tolist(), weights.tolist(), strict=True)).get(row, 0) / 9 for row in rows])


def test_what_people_took_after_the_same_query_is_lifted_even_without_its_words(pipeline):
    remembering = pipeline.with_memory(Taken())
    before = pipeline.search(None, SearchRequest("oak"), None, SECONDS).item_ids
    after = remembering.search(None, SearchRequest(" OAK "), None, SECONDS).item_ids
    assert "a5" not in before and after[0] == "a5" and "a3" in after
    assert "a5" not in remembering.search(None, SearchRequest("drill"), None, SECONDS).item_ids
    cheap = SearchRequest("oak", filter=ItemFilter(price=PriceRange(max=100)))
    assert "a5" not in remembering.search(None, cheap, None, SECONDS).item_ids
