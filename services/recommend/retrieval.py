"""Candidate retrieval: all sources, what the filter asks for, and at most as many as the ranker takes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.features.filters import ItemFilter, filter_mask
from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Candidates, Hits, Source, is_in, merge
from services.recommend.config import PipelineConfig
from services.recommend.sources import CandidateSource
from services.recommend.user import UserView


def retrieve(
    user: UserView,
    snapshot: ItemSnapshot,
    sources: Sequence[CandidateSource],
    wanted: ItemFilter,
    excluded: NDArray[np.int32],
    config: PipelineConfig,
) -> Candidates:
    """The best `max_candidates` of what the sources bring, without what is excluded or fails the filter.

    A selective filter is asked of the whole catalogue first, so that a narrow one is still answered with a full list.
    """
    hits = [hit for source in sources for hit in source.retrieve(user, snapshot, config)]
    if wanted.selective:
        hits.append(_of_filter(user, snapshot, wanted, config))
    found = merge(hits)
    if not len(found):
        return found
    mask = filter_mask(wanted, snapshot, found.indices)
    if excluded.size:
        mask &= ~is_in(found.indices, excluded)
    return found.keep(mask).best(config.max_candidates)


def _of_filter(user: UserView, snapshot: ItemSnapshot, wanted: ItemFilter, config: PipelineConfig) -> Hits:
    """Items of the whole catalogue that satisfy the filter: nearest to the user first, without a vector most popular.

    Costs one pass over the filter's columns, and a dot product an item that passes.
    """
    everything = np.arange(snapshot.count, dtype=np.int32)
    passing = everything[filter_mask(wanted, snapshot, everything)]
    query = user.view.long_term + user.view.short_term
    relevance = snapshot.engagement_column("popularity")[passing].astype(np.float32)
    np.nan_to_num(relevance, copy=False)
    if query.any():
        relevance = relevance * np.float32(0.2) + snapshot.vectors.dot(passing, query)
    keep = min(passing.size, config.max_candidates + user.excluded.size)
    if keep < passing.size:
        best = np.argpartition(-relevance, keep)[:keep]
        passing, relevance = passing[best], relevance[best]
    return Hits(Source.FILTER, passing[np.argsort(-relevance, kind="stable")])
