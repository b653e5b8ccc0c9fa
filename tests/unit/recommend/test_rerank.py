import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.order import best_first
from services.recommend.exploration import explore
from services.recommend.rerank import Group, select

SCORES = np.array([1.0, 0.9, 0.8, 0.1], np.float32)
# 0 and 1 are the same product; 2 is like them; 3 is different
VECTORS = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 1]], np.float32)


def test_without_diversity_and_caps_the_order_is_the_score():
    assert select(SCORES, 3).tolist() == [0, 1, 2]


def test_full_diversity_takes_what_is_most_unlike_first():
    # After 0 the largest cosines to it are 1, 0.8, 0 for 1, 2, 3: so 3; then 2 (max cosine 0.8) before 1 (1.0).
    assert select(SCORES, 4, vectors=VECTORS, diversity=1.0).tolist() == [0, 3, 2, 1]


def test_maximal_marginal_relevance_weighs_score_against_likeness():
    # Scaled scores: 1, 8/9, 7/9, 0. With d = 0.5 after 0: item 1: 4/9 − 1/2 < 0; item 2: 7/18 − 0.4 < 0; item 3: 0 − 0.
    assert select(SCORES, 2, vectors=VECTORS, diversity=0.5).tolist() == [0, 3]
    # With d = 0.1: item 1: 0.8 − 0.1 = 0.7; item 2: 0.7 − 0.08 = 0.62; item 3: 0.
    assert select(SCORES, 3, vectors=VECTORS, diversity=0.1).tolist() == [0, 1, 2]


def test_a_cap_lets_the_next_group_pass():
    brand = Group(np.array([5, 5, 5, 6], np.int32), 1)
    assert select(SCORES, 2, groups=(brand,)).tolist() == [0, 3]


def test_a_cap_is_lifted_rather_than_leaving_a_gap():
    brand = Group(np.array([5, 5, 5, 6], np.int32), 1)
    assert select(SCORES, 4, groups=(brand,)).tolist() == [0, 3, 1, 2]


def test_items_without_a_group_are_never_capped():
    assert select(SCORES, 3, groups=(Group(np.full(4, -1, np.int32), 1),)).tolist() == [0, 1, 2]


def test_two_caps_hold_at_once():
    brand = Group(np.array([1, 1, 2, 3], np.int32), 1)
    category = Group(np.array([7, 8, 7, 8], np.int32), 1)
    assert select(SCORES, 2, groups=(brand, category)).tolist() == [0, 3]


def test_ties_keep_their_order():
    assert best_first(np.array([0.5, 0.7, 0.5, 0.7], np.float32), 3).tolist() == [1, 3, 0]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 50))
def test_best_first_is_a_stable_sort(values: list[int], count: int):
    scores = np.array(values, np.float32)
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert best_first(scores, count).tolist() == expected


def test_exploration_is_off_by_default_and_every_propensity_is_one():
    chosen = np.array([4, 2])
    explored = explore(chosen, 10, 0.0, "request")
    assert explored.positions.tolist() == [4, 2]
    assert explored.propensities.tolist() == [1, 1]


def test_an_explored_slot_is_logged_with_its_probability():
    explored = explore(np.array([4, 2]), 10, 1.0, "request")
    assert explored.positions[0] == 4
    assert explored.positions[1] not in (4, 2)
    assert explored.propensities.tolist() == pytest.approx([1, 1 / 8])


def test_the_same_request_explores_the_same_item():
    first, second = (explore(np.array([4, 2]), 100, 0.5, "r-17") for _ in range(2))
    assert first.positions.tolist() == second.positions.tolist()


def test_propensities_are_the_frequencies_of_what_is_shown():
    shown = [int(explore(np.array([0, 1]), 5, 0.4, f"r{i}").positions[1]) for i in range(6_000)]
    share = np.bincount(shown, minlength=5) / len(shown)
    assert share.tolist() == pytest.approx([0, 0.6, 0.4 / 3, 0.4 / 3, 0.4 / 3], abs=0.02)
