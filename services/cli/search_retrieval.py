"""`portrait evaluate search --retrieval`: what search finds in a whole catalogue, beside its parts."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from services.search.pipeline import SearchPipeline

RETRIEVAL = "training.search_retrieval"
"""The module that does the work, loaded by name: services do not depend on training."""
FOUND = 100


def evaluate_retrieval(judged: Any, protocol: Any, *, correct: bool) -> list[Any]:
    """Results of plain BM25 over titles, every cosine, search by words alone, both fused without the ranker's features,
    and search as it is served, which comes last."""
    from services.cli.output import error_console  # noqa: PLC0415 - loaded when needed
    from services.core.settings import get_settings  # noqa: PLC0415 - as above

    retrieval = importlib.import_module(RETRIEVAL)
    results = []
    for name, retrieve in ways(judged, get_settings(), retrieval, correct=correct).items():
        results.append(retrieval.measure(name, retrieve, judged, protocol))
        error_console().print(f"{name} measured")
    return results


def ways(
    judged: Any, settings: Any, retrieval: Any, *, correct: bool
) -> dict[str, Callable[[int], NDArray[np.integer]]]:
    """From a query to rows of the judged products, by name."""
    from services.cli.search_data import query_vectors, search_shop  # noqa: PLC0415 - loaded when needed
    from services.search.judged import read_queries, searched_texts  # noqa: PLC0415 - as above
    from services.search.ranker import UntrainedRanker  # noqa: PLC0415 - as above
    from services.search.request import SearchRequest  # noqa: PLC0415 - as above

    shop = search_shop(judged, settings)
    snapshot, now = shop.pipeline.snapshot, shop.pipeline.snapshot.created
    pipeline = shop.pipeline.with_ranker(UntrainedRanker(shop.terms))
    read = read_queries(pipeline, judged.queries, correct=correct)
    vectors = query_vectors(searched_texts(judged.queries, read), settings)
    row = np.full(snapshot.count, -1, np.int64)
    row[shop.rows] = np.arange(len(shop.rows))
    plain = retrieval.PlainBM25(judged.items["title"].to_list())
    everything = np.arange(snapshot.count, dtype=np.int32)

    def page(ranked: "SearchPipeline", query: int, vector: NDArray[np.float32] | None) -> NDArray[np.int64]:
        if read[query] is None:
            return np.empty(0, np.int64)
        request = SearchRequest(judged.queries[query], count=FOUND, highlight=False, correct=correct)
        return row[snapshot.indices(ranked.search(None, request, vector, now, understood=read[query]).item_ids)]

    def dense(query: int) -> NDArray[np.int64]:
        cosines = snapshot.vectors.dot(everything, vectors[query])
        top = np.argpartition(-cosines, min(FOUND, cosines.size) - 1)[:FOUND]
        return row[top[np.argsort(-cosines[top], kind="stable")]]

    return {
        "bm25": lambda query: plain.best(judged.queries[query], FOUND),
        "dense": dense,
        "words": lambda query: page(pipeline, query, None),
        "fusion": lambda query: page(shop.pipeline, query, vectors[query]),
        "search": lambda query: page(pipeline, query, vectors[query]),
    }
