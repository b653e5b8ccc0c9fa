"""Re-ranking: which of the best-scored items make the list, given diversity and caps."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Group:
    """Something of which a list holds at most `cap`: `codes` int32 (n,), negative where an item has none."""

    codes: NDArray[np.int32]
    cap: int


def select(
    scores: NDArray[np.float32],
    count: int,
    *,
    vectors: NDArray[np.float32] | None = None,
    diversity: float = 0.0,
    groups: tuple[Group, ...] = (),
) -> NDArray[np.intp]:
    """Positions of the items of the list, in its order.

    `scores` float32 (n,) are best first. Each step takes the item with the largest maximal marginal relevance
    `(1 − d) · score − d · max cosine to those taken` (Carbonell and Goldstein, 1998), with scores scaled to 0–1 and
    `vectors` float32 (n, D), rows of length 1 or 0. Items over a cap are left out until nothing else is left.
    """
    count = min(count, scores.size)
    if not count or (not groups and (diversity == 0 or vectors is None)):
        return np.arange(count)
    span = float(scores[0] - scores.min())
    relevance = (scores - scores.min()) / span if span > 0 else np.ones_like(scores)
    open_ = np.ones(scores.size, bool)
    within = np.ones(scores.size, bool)
    counts = [Counter() for _ in groups]
    likeness = np.zeros(scores.size, np.float32)
    taken = np.empty(count, np.intp)
    for step in range(count):
        value = relevance if diversity == 0 else (1 - diversity) * relevance - diversity * likeness
        allowed = open_ & within
        if not allowed.any():
            allowed = open_
        taken[step] = chosen = int(np.where(allowed, value, -np.inf).argmax())
        open_[chosen] = False
        if diversity and vectors is not None:
            cosine = vectors @ vectors[chosen]
            likeness = cosine if step == 0 else np.maximum(likeness, cosine, out=likeness)
        for group, seen in zip(groups, counts, strict=True):
            code = int(group.codes[chosen])
            seen[code] += 1
            if code >= 0 and seen[code] >= group.cap:
                within &= group.codes != code
    return taken
