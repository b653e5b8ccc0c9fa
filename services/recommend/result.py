"""What the pipeline answers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recommendation:
    """One list: parallel sequences in its order. `candidates`: how many were ranked; `stages`: seconds of each stage.

    `propensities` are the probabilities with which the policy puts these items into these slots. `reasons` is None
    unless they were asked for.
    """

    item_ids: list[str]
    scores: list[float]
    sources: list[list[str]]
    propensities: list[float]
    reasons: list[list[dict[str, Any]]] | None
    candidates: int
    cold: bool
    stages: dict[str, float] = field(default_factory=dict)
    features: NDArray[np.float32] | None = None
    """(items, len(FEATURES)): what the list was ranked by; None for an empty list."""


@dataclass(frozen=True)
class Ranking:
    """The caller's items in the user's order; unknown ones last, in the caller's order, without a score."""

    item_ids: list[str]
    scores: list[float | None]
    known: list[bool]
    reasons: list[list[dict[str, Any]] | None] | None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SimilarItems:
    """Items like another one, most alike first, with scores of 0–1 and how each was found."""

    item_ids: list[str]
    scores: list[float]
    sources: list[list[str]]
