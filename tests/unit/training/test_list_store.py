"""Lists kept in a folder: what was made is not made again, and runs of single seeds join."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hand_split import ITEMS, split_of

from training.evaluation import evaluate
from training.list_store import ListStore

SPLIT = split_of(u="abe", v="bca", w="bd", x="bcde")


class Counted:
    """Offers e with seed 0 and b with others; counts how often it is fitted."""

    name = "counted"
    fits = 0

    def __init__(self, seed: int) -> None:
        self._item = ITEMS.index("b" if seed else "e")

    def fit(self, split) -> None:
        Counted.fits += 1

    def recommend(self, users, k):
        return np.tile(np.array([self._item] + [-1] * (k - 1), np.int32), (len(users), 1))


def test_runs_of_single_seeds_are_joined_without_making_a_list_again(tmp_path: Path):
    def store() -> ListStore:
        return ListStore(tmp_path, SPLIT, "default")

    for seed in (0, 1):
        evaluate(Counted, SPLIT, first_seed=seed, store=store())
    assert Counted.fits == 2
    joined = evaluate(Counted, SPLIT, seeds=2, store=store())
    assert Counted.fits == 2
    assert joined.per_user["recall@1"].tolist() == evaluate(Counted, SPLIT, seeds=2).per_user["recall@1"].tolist()


def test_lists_of_other_data_or_settings_are_not_taken_for_these(tmp_path: Path):
    evaluate(Counted, SPLIT, store=ListStore(tmp_path, SPLIT, "default"))
    fewer = replace(SPLIT, fit=SPLIT.fit & (SPLIT.log.item != 0))
    assert ListStore(tmp_path, SPLIT, "small").load("counted", 0) is None
    assert ListStore(tmp_path, fewer, "default").load("counted", 0) is None
    other = replace(SPLIT, log=replace(SPLIT.log, target=~SPLIT.log.target))
    assert ListStore(tmp_path, other, "default").load("counted", 0) is None
    assert ListStore(tmp_path, SPLIT, "default").load("counted", 1) is None
    assert ListStore(tmp_path, SPLIT, "default").load("counted", 0).ranked.shape == (len(SPLIT.users), 500)
