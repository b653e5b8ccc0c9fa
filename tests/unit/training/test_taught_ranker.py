"""Served lists teach a ranker where there are enough of them and they teach it better than sampled candidates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_impressions import row, written

from services.features.transforms import FEATURES
from services.networks.ranker_config import TASKS
from training.configs import RankerSettings
from training.impressions import CANDIDATES, IMPRESSIONS, ImpressionSettings, ServedLists
from training.ranker import Examples
from training.taught_ranker import Taught, taught_ranker

SETTINGS = RankerSettings(hidden=(4, 4), batch_users=16, max_epochs=8, learning_rate=0.03, average=0.0, dropout=0.0)
LENGTH, LISTS = 6, 150
USERS = pa.array([f"user-{n:03d}" for n in range(400)])


def features_of(lists: int, seed: int) -> np.ndarray:
    """Random features (lists, LENGTH, F)."""
    return np.random.default_rng(seed).normal(size=(lists, LENGTH, len(FEATURES))).astype(np.float32)


def candidates(users: np.ndarray, every: int = 1) -> Examples:
    """Of each user's candidates the one with the greatest first feature is the hit; of every n-th user only."""
    values = features_of(len(users), seed=1)
    hits = np.zeros((len(users), LENGTH, len(TASKS)), bool)
    hits[np.arange(len(users)), values[:, :, 0].argmax(axis=1), 0] = users % every == 0
    starts = np.arange(len(users) + 1) * LENGTH
    return Examples(values.reshape(-1, len(FEATURES)).astype(np.float16), hits.reshape(-1, len(TASKS)), starts)


def served(folder: Path, *, sensible: bool) -> ServedLists:
    """Lists of which the item with the greatest first feature was clicked; not `sensible`: with the least."""
    values = features_of(LISTS, seed=2)
    clicked = values[:, :, 0].argmax(axis=1) if sensible else values[:, :, 0].argmin(axis=1)
    rows = [
        row(f"r{n}", "abcdef", (("abcdef"[clicked[n]], "click"),), features=values[n].tobytes()) for n in range(LISTS)
    ]
    return ServedLists(written(folder / "lists", *rows, batch=64), (1.0,), ImpressionSettings(fewest=100))


def taught(lists: ServedLists | None, every: int = 1) -> Taught:
    users = np.arange(300, dtype=np.int32)
    return taught_ranker(
        lists, lambda some: candidates(some, every), users, np.arange(300, 400, dtype=np.int32), USERS, SETTINGS, seed=0
    )


def test_without_lists_or_with_too_few_candidates_teach(tmp_path: Path) -> None:
    alone = taught(None)
    assert (alone.by, alone.dataset, alone.judged) == (CANDIDATES, "", None) and alone.ranker is not None
    few = served(tmp_path, sensible=True)
    assert taught(replace(few, settings=ImpressionSettings(fewest=LISTS + 1))).by == CANDIDATES


def test_lists_that_mislead_are_outvoted_by_users_who_taught_neither(tmp_path: Path) -> None:
    lists = served(tmp_path, sensible=False)
    found = taught(lists)
    assert found.by == CANDIDATES and found.dataset == lists.manifest.digest
    assert found.judged is not None and found.judged[CANDIDATES] > 0.8 > 0.6 > found.judged[IMPRESSIONS]


def test_lists_teach_where_candidates_have_too_few_hits(tmp_path: Path) -> None:
    found = taught(served(tmp_path, sensible=True), every=10)
    assert found.by == IMPRESSIONS and found.judged == {IMPRESSIONS: pytest.approx(1.0, abs=0.2)}
