"""Histories as windows: every token, what it predicts, and nothing of another user."""

import numpy as np

from training.sequences import Tokens, TrainingWindows, last_windows, next_targets


def tokens(*users: str, targets: str = "") -> Tokens:
    """One user a word, one letter an item; letters in `targets` (all when empty) can be predicted."""
    user = np.concatenate([[n] * len(word) for n, word in enumerate(users)]).astype(np.int32)
    item = np.array([ord(letter) - ord("a") for word in users for letter in word], np.int32)
    hit = np.array([not targets or letter in targets for word in users for letter in word])
    return Tokens(user, item, np.ones(len(user), np.int64), np.full(len(user), np.nan), hit)


def letters(hits: np.ndarray, weights: np.ndarray) -> list[str]:
    rows = zip(hits.tolist(), weights.tolist(), strict=True)
    return ["".join(chr(97 + item) for item, weight in zip(*row, strict=True) if weight) for row in rows]


def test_each_token_predicts_the_next_targets_of_its_own_user() -> None:
    some = tokens("abcd", "xy")
    hits, weights = next_targets(some, 2, 0.5)
    assert letters(hits, weights) == ["bc", "cd", "d", "", "y", ""]
    assert weights[0].tolist() == [1.0, 0.5]


def test_only_targets_are_predicted() -> None:
    some = tokens("avbvc", targets="abc")
    assert letters(*next_targets(some, 1, 0.5)) == ["b", "b", "c", "c", ""]


def test_windows_cover_long_histories_and_leave_out_what_predicts_nothing() -> None:
    some = tokens("abcdefghij", "x")
    windows = TrainingWindows(some, length=4, window=1, decay=1.0)
    spans = sorted(zip(windows.starts.tolist(), windows.ends.tolist(), strict=True))
    assert spans == [(0, 4), (2, 6), (4, 8), (6, 10)]


def test_an_epoch_is_every_window_once() -> None:
    words = ["abcdefgh"[: 2 + n % 7] for n in range(50)]
    some = tokens(*words)
    windows = TrainingWindows(some, length=50, window=1, decay=1.0)
    batches = list(windows.batches(np.random.default_rng(0), 8))
    assert sum(batch.rows.shape[0] for batch in batches) == len(windows) == 50
    assert sum(len(batch.hits) for batch in batches) == sum(len(word) - 1 for word in words)
    for batch in batches:
        assert (some.user[batch.rows] == some.user[batch.rows][:, :1]).all()


def test_last_windows() -> None:
    some = tokens("abc", "x", "pq")
    starts, ends = last_windows(some.user, np.array([0, 2, 5], np.int32), 2)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(1, 3), (4, 6), (6, 6)]
