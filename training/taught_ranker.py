"""What teaches a ranker: lists that were served, where there are enough and they teach it better, else candidates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.configs import RankerSettings
from training.impressions import CANDIDATES, IMPRESSIONS, ServedLists
from training.ranker import Examples, FittedRanker, fit_ranker, ndcg_of_lists

JUDGES, MOST_JUDGES = 0.2, 2_000
"""Of the users who would teach by their candidates, those who judge between two rankers instead."""

Collect = Callable[[NDArray[np.int32]], Examples]
"""User codes → examples from the candidates that the pipeline would have ranked."""


@dataclass(frozen=True)
class Taught:
    """`ranker`: None where there is too little of everything. `by`: impressions or candidates; `dataset`: the digest of
    the data set that was read; `judged`: NDCG@10 among candidates of users who taught neither, by what taught."""

    ranker: FittedRanker | None
    by: str
    dataset: str = ""
    judged: dict[str, float] | None = None


def taught_ranker(
    served: ServedLists | None,
    candidates: Collect,
    users: NDArray[np.int32],
    measured: NDArray[np.int32],
    user_ids: pa.Array,
    settings: RankerSettings,
    seed: int,
    *,
    device: str = "cpu",
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Taught:
    """The ranker of a run. `users` may teach by their candidates, `measured` must not teach at all; codes into
    `user_ids`.

    With enough served lists (`ServedLists.examples`) a ranker learns from each kind, and the one serves that orders the
    candidates of users who taught neither better: lists hold what an earlier ranker liked, candidates all that this one
    will be asked about.
    """

    def fit(examples: Examples) -> FittedRanker | None:
        return fit_ranker(examples, settings, seed, device=device, tell=tell)

    judges, others = _parts(users, seed)
    shown = None if served is None else served.examples(_names(user_ids, np.concatenate((judges, measured))))
    if served is None or shown is None or not len(judges):
        return Taught(fit(candidates(users)), CANDIDATES)
    fitted = {CANDIDATES: fit(candidates(others)), IMPRESSIONS: fit(shown)}
    judging = candidates(judges)
    judged = {by: judge(ranker, judging) for by, ranker in fitted.items() if ranker is not None}
    by = max(judged, key=lambda name: judged[name]) if judged else CANDIDATES
    return Taught(fitted[by], by, served.manifest.digest, judged)


def judge(ranker: FittedRanker, examples: Examples) -> float:
    """NDCG@10 of the candidates ordered by value; hits are those of the strongest task that has any."""
    task = max((place for place in range(examples.hits.shape[1]) if examples.hits[:, place].any()), default=0)
    values = ranker.network.value(examples.features.astype(np.float32))
    return ndcg_of_lists(values, examples.hits[:, task], examples.starts)


def _parts(users: NDArray[np.int32], seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    order = np.random.default_rng(seed + 7).permutation(users)
    count = min(MOST_JUDGES, round(JUDGES * len(order)))
    return np.sort(order[:count]), np.sort(order[count:])


def _names(user_ids: pa.Array, codes: NDArray[np.int32]) -> list[str]:
    return user_ids.take(pa.array(codes)).to_pylist()
