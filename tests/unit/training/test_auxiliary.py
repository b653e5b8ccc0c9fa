"""The self-supervised objective thins histories out as it says, and trains beside the next item."""

from dataclasses import replace

import numpy as np
import tiny_training

from training.auxiliary import thinned


def test_copies_keep_some_of_a_history_in_order_and_never_nothing() -> None:
    rows = np.arange(40).reshape(8, 5) * 10
    known = np.arange(5) < np.array([5, 4, 3, 2, 1, 5, 5, 5])[:, None]
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        copy, kept = thinned(rows, known, rng)
        assert kept.any(axis=1).all()
        assert (np.diff(kept.astype(int), axis=1) <= 0).all()  # what is kept stands first
        for row, some, mask in zip(rows, copy, kept, strict=True):
            assert set(some[mask]) <= set(row[: known[row[0] // 50].sum()])
            assert (np.diff(some[mask]) > 0).all()
        shares.append(kept.sum() / known.sum())
    assert 0.55 < np.mean(shares) < 0.85


def test_it_trains_beside_the_next_item_and_changes_what_is_learned() -> None:
    settings = replace(tiny_training.SETTINGS, auxiliary=0.3)
    beside = tiny_training.trainer(settings).fit(tiny_training.tokens(), seed=3, epochs=4)
    alone = tiny_training.trainer().fit(tiny_training.tokens(), seed=3, epochs=4)
    losses = [figures["loss"] for figures in beside.trained.history]
    assert losses[-1] < losses[0]
    assert not np.allclose(beside.vectors, alone.vectors)
