"""Decayed sums add up in any order and any batching."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import AS_OF, DAY, batch, catalogue_of, event, item
from scipy import sparse

from services.profiles.config import ProfileConfig
from services.profiles.decay import EMPTY, DecayedSums
from services.profiles.reference import ReferenceStatistics
from services.profiles.sums import ProfileSums, RatedSums, profile_sums
from services.profiles.weights import base_weights

CONFIG = ProfileConfig()
REFERENCE = ReferenceStatistics.defaults()
ITEMS = "abcde"
SHOP = catalogue_of(
    *(
        item(name, np.eye(5)[k] + 0.3, ["Shop", f"Aisle {k % 2}"], f"Brand {k % 3}", 5.0 + 3 * k)
        for k, name in enumerate(ITEMS)
    )
)


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


ONE_EVENT = st.tuples(
    st.sampled_from("uvw"),
    st.sampled_from(ITEMS),
    st.sampled_from(["view", "click", "purchase", "hide", "rating", "review", "cart"]),
    st.integers(0, 400),
    st.integers(1, 5),
    st.floats(-1, 1, width=32),
)


def totals(sums: ProfileSums) -> dict[str, np.ndarray]:
    """Every number that is read out of the sums, as of one common time."""
    mean, to = sums.mean_rating(CONFIG), np.full(3, AS_OF)
    found = {}
    for name, value in vars(sums).items():
        matrix = value.totals(mean, to) if isinstance(value, RatedSums) else value.advanced(to).totals
        found[name] = matrix.toarray() if sparse.issparse(matrix) else matrix
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(ONE_EVENT, min_size=3, max_size=25), st.integers(1, 6), st.randoms(use_true_random=False))
def test_any_batching_in_any_order_equals_the_full_recompute(rows, batches, random):
    made = []
    for user, item_id, kind, age, stars, sentiment in rows:
        opinion = {"rating": stars} if kind == "rating" else {}
        opinion = {"rating": stars, "sentiment": sentiment} if kind == "review" else opinion
        made.append(event(user, item_id, kind, age * DAY / 2, **opinion))
    made += [event(user, "a", "view", 500 * DAY) for user in "uvw"]  # each user is in the batch
    events = batch(SHOP, *made)
    weights = base_weights(events, SHOP, REFERENCE, CONFIG)
    whole = totals(profile_sums(events, weights, SHOP, CONFIG))
    part = np.array([random.randrange(batches) for _ in range(events.count)])
    parts = [profile_sums(events, weights, SHOP, CONFIG, part == k) for k in range(batches)]
    random.shuffle(parts)
    merged = parts[0]
    for other in parts[1:]:
        merged = merged.merged(other)
    for name, value in totals(merged).items():
        assert value == pytest.approx(whole[name], rel=1e-5, abs=1e-5), name
