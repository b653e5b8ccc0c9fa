"""Candidate retrieval: all sources, what the filter asks for, and at most as many as the ranker takes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.features.filters import ItemFilter, filter_mask, passing_rows
from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Candidates, Hits, Source, is_in, merge
from services.recommend.config import PipelineConfig
from services.recommend.sources import CandidateSource
from services.recommend.user import UserView

COMPARED = 10_000
"""Items that pass a filter and are compared with the user at most, beside the nearest ones."""


def retrieve(
    user: UserView,
    snapshot: ItemSnapshot,
    sources: Sequence[CandidateSource],
    wanted: ItemFilter,
    excluded: NDArray[np.int32],
    enough: int,
    config: PipelineConfig,
) -> Candidates:
    """The best `max_candidates` of what the sources bring, without what is excluded or fails the filter.

    A selective filter is asked of the whole catalogue first, so that a narrow one is still answered with a full list.
    Any other is where the sources leave fewer than `enough`.
    """
    hits = [hit for source in sources for hit in source.retrieve(user, snapshot, config)]
    if wanted.selective:
        hits.append(_of_filter(user, snapshot, wanted, excluded, config))
    found = _let_through(merge(hits), snapshot, wanted, excluded)
    if len(found) < enough and not wanted.selective:
        hits.append(_of_filter(user, snapshot, wanted, excluded, config))
        found = _let_through(merge(hits), snapshot, wanted, excluded)
    return found.best(config.max_candidates)


def _let_through(
    found: Candidates, snapshot: ItemSnapshot, wanted: ItemFilter, excluded: NDArray[np.int32]
) -> Candidates:
    if not len(found):
        return found
    mask = filter_mask(wanted, snapshot, found.indices)
    if excluded.size:
        mask &= ~is_in(found.indices, excluded)
    return found.keep(mask)


def _of_filter(
    user: UserView, snapshot: ItemSnapshot, wanted: ItemFilter, excluded: NDArray[np.int32], config: PipelineConfig
) -> Hits:
    """Items of the whole catalogue that satisfy the filter and are not excluded: nearest to the user first, without a
    vector most popular.

    Costs a pass over one of the filter's columns, and a dot product an item that passes: of more than `COMPARED` that
    do, the most popular ones and those among the catalogue's nearest are compared.
    """
    passing = passing_rows(wanted, snapshot)
    query = user.view.long_term + user.view.short_term
    keep = config.max_candidates
    if passing.size > COMPARED + excluded.size:
        passing = _popular_or_near(passing, query, wanted, snapshot, COMPARED + excluded.size, keep + excluded.size)
    if excluded.size:
        passing = passing[~is_in(passing, excluded)]
    relevance = snapshot.engagement_column("popularity")[passing].astype(np.float32)
    np.nan_to_num(relevance, copy=False)
    if query.any():
        relevance = relevance * np.float32(0.2) + snapshot.vectors.dot(passing, query)
    if keep < passing.size:
        best = np.argpartition(-relevance, keep)[:keep]
        passing, relevance = passing[best], relevance[best]
    return Hits(Source.FILTER, passing[np.argsort(-relevance, kind="stable")])


def _popular_or_near(
    passing: NDArray[np.int32],
    query: NDArray[np.float32],
    wanted: ItemFilter,
    snapshot: ItemSnapshot,
    most: int,
    near: int,
) -> NDArray[np.int32]:
    """The `most` popular of the items that pass, and what passes of the `near` nearest; int32 ascending."""
    popularity = np.nan_to_num(snapshot.engagement_column("popularity")[passing])
    popular = passing[np.argpartition(-popularity, most)[:most]]
    if not query.any():
        return np.sort(popular)
    found, _ = snapshot.nearest((query / np.linalg.norm(query))[None], near)
    nearest = found[0][found[0] >= 0]
    return np.union1d(popular, nearest[filter_mask(wanted, snapshot, nearest)])
