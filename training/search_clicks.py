"""Learns search from clicks: what a click is worth depends on how likely its place was looked at.

Position-based model: P(click) = P(place examined) · P(product attractive for the query) (Craswell et al. 2008).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from training.search_ranker import GradedLists

FloatArray = NDArray[np.float64]
STRENGTH = 20.0
"""Expected clicks of a place that its prior counts as; what was seldom seen stays near it."""
ROUNDS = 50
LEAST_PROPENSITY = 0.05
"""Bounds the weight of one click (Joachims, Swaminathan and Schnabel 2017)."""
PRIOR_VIEWS = 5.0


@dataclass(frozen=True)
class ShownResults:
    """What was shown: parallel arrays. `row` int64: which query × item (a row of the lists that are learned from),
    `position` int64 from 0, `clicked` bool."""

    row: NDArray[np.int64]
    position: NDArray[np.int64]
    clicked: NDArray[np.bool_]


def examination(shown: ShownResults, positions: int, prior: FloatArray | None = None) -> FloatArray:
    """(positions,): P(examined) as a share of the first place's.

    Intervention harvesting (Agarwal et al. 2019): only rows that were shown in at least two places tell, since what a
    row is worth then cancels out. Both factors are fitted in turns; the curve is made to fall (isotonic regression).
    """
    prior = 1 / (np.arange(positions) + 1.0) ** 0.5 if prior is None else prior
    cells, views, clicks = _cells(shown, positions)
    row, position = cells // positions, cells % positions
    _, code, places = np.unique(row, return_inverse=True, return_counts=True)
    told = places[code] > 1
    if not clicks[told].sum():
        return prior / prior[0]
    row, position, views, clicks = code[told], position[told], views[told], clicks[told]
    observed = np.bincount(position, clicks, minlength=positions)
    curve = prior / prior[0]
    for _ in range(ROUNDS):
        seen = np.bincount(row, views * curve[position])
        worth = np.bincount(row, clicks) / np.maximum(seen, 1e-9)
        expected = np.bincount(position, views * worth[row], minlength=positions)
        curve = (observed + STRENGTH * prior / prior[0]) / (expected + STRENGTH)
        curve = curve / curve[0]
    falling = isotonic_regression(curve, weights=observed + 1.0, increasing=False).x
    return falling / falling[0]


def attraction(shown: ShownResults, rows: int, propensity: FloatArray) -> FloatArray:
    """(rows,): clicks over examined views of each row, shrunk to the mean of all: Σ clicks / Σ propensity."""
    clicks = np.bincount(shown.row, shown.clicked, minlength=rows)
    examined = np.bincount(shown.row, propensity[shown.position], minlength=rows)
    mean = clicks.sum() / max(examined.sum(), 1e-9)
    return (clicks + PRIOR_VIEWS * mean) / (examined + PRIOR_VIEWS)


def click_lists(
    features: NDArray[np.float32], starts: NDArray[np.int64], shown: ShownResults, propensity: FloatArray | None
) -> GradedLists:
    """Lists to learn from: each click counts 1 / propensity of its place; `propensity` None takes clicks at face value.

    What a product is worth, by which the epoch is chosen, is judged on the same terms.
    """
    rows = len(features)
    curve = np.ones(int(shown.position.max(initial=0)) + 1) if propensity is None else propensity
    weight = 1 / np.maximum(curve, LEAST_PROPENSITY)
    target = np.bincount(shown.row[shown.clicked], weight[shown.position[shown.clicked]], minlength=rows)
    return GradedLists(features, attraction(shown, rows, curve), starts, target.astype(np.float32))


def _cells(shown: ShownResults, positions: int) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Distinct (row, position) as row · positions + position, with views and clicks."""
    cell = shown.row * positions + np.minimum(shown.position, positions - 1)
    distinct, code = np.unique(cell, return_inverse=True)
    return distinct, np.bincount(code).astype(float), np.bincount(code, shown.clicked)
