"""The deletion test: do the events that reasons name matter to the score they explain?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core import columns
from services.features.portrait import Portrait
from services.recommend.request import RankRequest, RecommendationRequest
from training.pipeline import PipelineRecommender
from training.splits import Split

MakePortraits = Callable[[pa.Table], Mapping[str, Portrait]]
"""Events → portraits by user id."""


@dataclass(frozen=True)
class Deletions:
    """By how much the score of a user's first item fell: without the events on the item that its first reason names,
    and without those on another of his items, drawn at random. One entry a user with such a reason."""

    named: NDArray[np.float64]
    random: NDArray[np.float64]

    def interval(self) -> tuple[float, float, float]:
        """Mean of named − random, with its 95% interval over users (normal approximation)."""
        gap = self.named - self.random
        error = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
        return float(gap.mean()), float(gap.mean() - error), float(gap.mean() + error)


def deletion_test(
    recommender: PipelineRecommender,
    split: Split,
    users: NDArray[np.int32],
    make_portraits: MakePortraits,
    seed: int = 0,
) -> Deletions:
    """Recommend to each user, delete what the reason names or something else, and score the item again.

    Portraits are made anew from the events that are left; all users' at once.
    """
    rng = np.random.default_rng(seed)
    chosen: list[tuple[str, str, str, str]] = []  # user, recommended, named, drawn
    for user in users.tolist():
        portrait = recommender.portrait_of(user)
        request = RecommendationRequest(portrait.user_id, count=1, explain=True)
        found = recommender.pipeline.recommend(portrait, request, recommender.inputs.now)
        named = next((r["item_id"] for rs in found.reasons or [] for r in rs if r["kind"] == "event"), None)
        others = [item.item_id for item in portrait.recent_items if item.item_id != named]
        if named is not None and others:
            chosen.append((portrait.user_id, found.item_ids[0], named, others[rng.integers(len(others))]))
    events = split.history_events()
    scores = [_scores(recommender, chosen, make_portraits(_without(events, chosen, column))) for column in (None, 2, 3)]
    return Deletions(scores[0] - scores[1], scores[0] - scores[2])


def _without(events: pa.Table, chosen: list[tuple[str, str, str, str]], column: int | None) -> pa.Table:
    """The events without those of each user on one item."""
    if column is None:
        return events
    keys = pa.array([f"{row[0]}\0{row[column]}" for row in chosen], pa.string())
    pairs = pc.binary_join_element_wise(
        events[columns.USER_ID].cast(pa.string()), events[columns.ITEM_ID].cast(pa.string()), "\0"
    )
    return events.filter(pc.invert(pc.is_in(pairs, value_set=keys)))


def _scores(
    recommender: PipelineRecommender, chosen: list[tuple[str, str, str, str]], portraits: Mapping[str, Portrait]
) -> NDArray[np.float64]:
    found = []
    for user, item, *_ in chosen:
        ranking = recommender.pipeline.rank(portraits[user], RankRequest(user, (item,)), recommender.inputs.now)
        found.append(ranking.scores[0])
    return np.array(found, np.float64)
