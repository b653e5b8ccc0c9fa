"""Similar users, what they like, and ranking rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import catalogue_of, item
from scipy import sparse

from services.profiles.config import ProfileConfig
from services.profiles.items import HeldItems
from services.profiles.neighbours import NeighbourPool, liked_items, nearest_users, neighbour_items
from services.profiles.ranked import SparseRows, rank_rows

CONFIG = ProfileConfig()
UNIT = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
POOL = NeighbourPool(pa.array(["a", "b", "c", "d"]), UNIT, "test")


def test_the_nearest_users_are_ranked_by_cosine_without_oneself_and_opposites():
    # from a: b 0.8, c 0 and d −1 are no neighbours; from b: a 0.8, c 0.6
    found = nearest_users(pa.array(["a", "b"]), UNIT[:2], np.ones(2, bool), "test", POOL, 3)
    pairs = found.pairs(POOL.user_ids)
    assert pairs == [(("b", 0.8),), (("a", 0.8), ("c", 0.6))]


def test_users_without_a_vector_or_in_another_space_have_no_neighbours():
    found = nearest_users(pa.array(["x", "a"]), UNIT[:2], np.array([False, True]), "test", POOL, 3)
    assert found.pairs(POOL.user_ids) == [(), (("b", 1.0), ("c", 0.6))]
    other = nearest_users(pa.array(["a"]), UNIT[:1], np.ones(1, bool), "another", POOL, 3)
    assert other.indptr.tolist() == [0, 0]


def test_only_as_many_neighbours_as_asked_for():
    found = nearest_users(pa.array(["x"]), UNIT[1:2], np.ones(1, bool), "test", POOL, 2)
    assert found.pairs(POOL.user_ids) == [(("b", 1.0), ("a", 0.8))]


def held(*rows: tuple[int, int, float]) -> HeldItems:
    user, row, weight = (np.array(column) for column in zip(*rows, strict=True))
    return HeldItems(user, row, row, weight.astype(float), np.arange(len(rows)), np.zeros(len(rows), np.int8))


def test_liked_items_are_shares_of_the_heaviest():
    shop = catalogue_of(*(item(name) for name in "abc"))
    # weights 3, 1 and −1 with two kept: ¾ and ¼; user 1 likes nothing
    found = liked_items(held((0, 0, 3.0), (0, 1, 1.0), (0, 2, 0.5), (1, 0, -1.0), (1, -1, 2.0)), 2, shop, 2)
    assert found.toarray().tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0]]


def test_neighbours_items_are_scored_and_ones_own_left_out():
    # neighbours with cosine 1 and ½ (to the 4th power: 1 and 1/16) like items 0, 1 and items 1, 2; item 0 is the user's
    near = SparseRows(np.array([0, 2, 2]), np.array([0, 1]), np.array([1.0, 0.5]))
    likes = sparse.csr_array(np.array([[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]], np.float32))
    found = neighbour_items(near, likes, np.array([0, 0]), np.array([0, -1]), CONFIG)
    # item 1: 0.5 + 0.2 / 16 = 0.5125; item 2: 0.8 / 16 = 0.05; over the best: 1 and 0.0976
    assert found.columns.tolist() == [1, 2]
    assert found.values.tolist() == pytest.approx([1.0, 0.05 / 0.5125])
    assert found.indptr.tolist() == [0, 2, 2]


def test_a_row_keeps_its_best_entries_and_ties_go_to_the_smaller_column():
    matrix = sparse.csr_array(np.array([[0.2, 0.9, 0.9, 0.5], [0.0, 0.0, 0.0, 0.0], [0.3, 0.1, 0.0, 0.4]]))
    found = rank_rows(SparseRows.of(matrix), 2, 0.15)
    assert found.indptr.tolist() == [0, 2, 2, 4]
    assert found.columns.tolist() == [1, 2, 3, 0]
    assert found.pairs(pa.array(["p", "q", "r", "s"]))[0] == (("q", 0.9), ("r", 0.9))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.integers(1, 6))
def test_ranking_equals_sorting_each_row(seed, count):
    generator = np.random.default_rng(seed)
    dense = generator.integers(0, 5, (7, 12)) * (generator.random((7, 12)) < 0.7) / 4.0
    found = rank_rows(SparseRows.of(sparse.csr_array(dense)), count, 0.5)
    for row in range(7):
        expected = sorted((c for c in range(12) if dense[row, c] >= 0.5), key=lambda c: (-dense[row, c], c))[:count]
        assert found.columns[found.indptr[row] : found.indptr[row + 1]].tolist() == expected
