"""Measures what a cross-encoder adds to the learned ranker: its scores, out of fold, are one more feature."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.networks.cross_encoder import LowerLayers, PairTokens, UpperLayers
from training.search_cross_encoder import (
    CrossEncoderSettings,
    JudgedPairs,
    PairStates,
    TaughtCrossEncoder,
    cross_scores,
    pair_states,
    teach_cross_encoder,
)
from training.search_evaluation import (
    JudgedLists,
    SearchProtocol,
    SearchResult,
    folds_of,
    measure_scores,
    measured_queries,
)
from training.search_ranker import GradedLists, SearchRankerSettings, fit_search_ranker

FloatArray = NDArray[np.float32]
SETTLED = 0.5
"""Scores from before this share of the first pass of the first teaching say little yet and are left out."""
FURTHER = 0.5
"""Of the learning rate, in one pass more over the measured lists of the other folds."""

Tell = Callable[[dict[str, float]], None]


def evaluate_cross_encoder(
    name: str,
    lists: JudgedLists,
    pairs: PairTokens,
    layers: tuple[LowerLayers, UpperLayers],
    protocol: SearchProtocol,
    folder: Path,
    *,
    settings: CrossEncoderSettings | None = None,
    ranker: SearchRankerSettings | None = None,
    seed: int = 0,
    tell: Tell = lambda _: None,
) -> SearchResult:
    """The learned ranker with the cross-encoder's score of each judged pair as one more feature.

    `pairs` are the tokens of every row of `lists`; `layers` those of an encoder, not taught yet; `folder` takes the
    states of the lower ones, 0.8 KB a token at 384 components.
    """
    began = time.perf_counter()
    settings = CrossEncoderSettings() if settings is None else settings
    columns = out_of_fold_scores(lists, pairs, layers, protocol, folder, settings, seed, tell)
    fold = folds_of(lists.judgements, protocol)
    owner, starts = lists.judgements.owner, lists.judgements.starts
    found = np.zeros(len(owner), np.float32)
    for part, column in enumerate(columns):
        features = np.column_stack((lists.features, np.nan_to_num(column)))
        whole = np.logical_and.reduceat(np.isfinite(column), starts[:-1]) & (np.diff(starts) > 0)
        graded = GradedLists(features, lists.judgements.gain, starts)
        taught = graded.take(np.flatnonzero(whole & (fold != part)))
        rows = fold[owner] == part
        found[rows] = fit_search_ranker(taught, (*lists.names, name), ranker, seed).score(features[rows])
    return measure_scores(name, [found], lists, protocol, time.perf_counter() - began)


def out_of_fold_scores(
    lists: JudgedLists,
    pairs: PairTokens,
    layers: tuple[LowerLayers, UpperLayers],
    protocol: SearchProtocol,
    folder: Path,
    settings: CrossEncoderSettings,
    seed: int = 0,
    tell: Tell = lambda _: None,
) -> list[FloatArray]:
    """For each fold a score of every row, float32 (rows,), NaN where there is none.

    A list that is not measured only teaches: all folds' networks go on from one that has learned from those, once. The
    fold's own rows are scored by a network that saw no measured list of it; other rows have the score that was theirs
    just before they were learned from.
    """
    judged = lists.judgements
    lower, upper = layers
    states = pair_states(lower, pairs, folder / "states.npy")
    all_pairs = JudgedPairs(np.arange(len(judged.item)), judged.grade, judged.gain, judged.starts)
    measured = np.zeros(len(judged.queries), bool)
    measured[measured_queries(judged, protocol)] = True
    fold = folds_of(judged, protocol)
    scores = np.full(len(judged.item), np.nan, np.float32)
    first = upper
    only_teaching = np.flatnonzero(~measured & (np.diff(judged.starts) > 0))
    if len(only_teaching):
        settled = SETTLED / settings.epochs
        first = _teach(upper, states, all_pairs.take(only_teaching), settings, seed, tell, scores, settled)
        settings = replace(settings, epochs=1, learning_rate=settings.learning_rate * FURTHER)
    columns = []
    for part in range(protocol.folds):
        column = scores.copy()
        others = np.flatnonzero(measured & (fold != part))
        network = _teach(first, states, all_pairs.take(others), settings, seed, tell, column, 0.0)
        rows = np.flatnonzero(fold[judged.owner] == part)
        column[rows] = cross_scores(network, states, rows)
        columns.append(column)
    return columns


def _teach(
    upper: UpperLayers,
    states: PairStates,
    pairs: JudgedPairs,
    settings: CrossEncoderSettings,
    seed: int,
    tell: Tell,
    scores: FloatArray,
    settled: float,
) -> UpperLayers:
    """A taught copy. What it said of each pair just before is put into `scores`, but for the `settled` first share."""
    taught: TaughtCrossEncoder = teach_cross_encoder(copy.deepcopy(upper), states, pairs, settings, seed, tell)
    kept = taught.step >= settled * taught.steps
    scores[pairs.row[kept]] = taught.before[kept]
    return taught.upper
