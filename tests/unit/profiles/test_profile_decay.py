"""The algebra of decayed sums, worked out by hand."""

import numpy as np
from profile_rows import AS_OF, DAY
from scipy import sparse

from services.profiles.decay import EMPTY, DecayedSums


def one_user(times: list[float], values: list[float], half_life: float = DAY) -> DecayedSums:
    n = len(times)
    return DecayedSums.of_events(
        np.zeros(n, np.int64), 1, np.array(times), np.ones(n), np.array(values)[:, None], half_life
    )


def test_a_sum_is_as_of_its_newest_event():
    # 4 a day before, 8 two days before, 1 now: 1 + 4 / 2 + 8 / 4 = 5
    sums = one_user([2 * DAY, DAY, 0.0], [1.0, 4.0, 8.0])
    assert sums.reference.tolist() == [2 * DAY]
    assert sums.totals.tolist() == [[5.0]]


def test_advancing_halves_at_each_half_life():
    sums = one_user([0.0], [8.0]).advanced(np.array([3 * DAY]))
    assert (sums.totals.tolist(), sums.reference.tolist()) == ([[1.0]], [3 * DAY])


def test_merging_takes_the_later_reference():
    # 8 three days ago fades to 1, plus 2 now
    merged = one_user([0.0], [8.0]).merged(one_user([3 * DAY], [2.0]))
    assert (merged.totals.tolist(), merged.reference.tolist()) == ([[3.0]], [3 * DAY])


def test_an_infinite_half_life_never_fades():
    assert one_user([0.0, 900 * DAY], [1.0, 1.0], np.inf).totals.tolist() == [[2.0]]


def test_old_events_do_not_underflow():
    old = one_user([0.0, DAY], [1.0, 1.0])
    assert old.merged(one_user([], [])).totals.tolist() == [[1.5]]
    assert old.reference.tolist() == [DAY]


def test_an_empty_row_stays_empty_and_is_neutral():
    empty = DecayedSums(DAY, np.array([EMPTY]), np.zeros((1, 1)))
    full = one_user([5.0], [7.0])
    assert empty.merged(full).totals.tolist() == full.merged(empty).totals.tolist() == [[7.0]]
    both = empty.merged(empty).advanced(np.array([AS_OF]))
    assert (both.totals.tolist(), both.reference.tolist()) == ([[0.0]], [EMPTY])


def test_sparse_sums_follow_the_same_algebra():
    def sums(time: float, row: list[float]) -> DecayedSums:
        values = sparse.csr_array(np.array([row]))
        return DecayedSums.of_events(np.zeros(1, np.int64), 1, np.array([time]), np.ones(1), values, DAY)

    merged = sums(0.0, [4.0, 0.0, 2.0]).merged(sums(DAY, [0.0, 3.0, 1.0]))
    assert merged.dense().tolist() == [[2.0, 3.0, 2.0]]
