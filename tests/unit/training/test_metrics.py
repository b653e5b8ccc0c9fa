import numpy as np
import pytest

from training import metrics
from training.bootstrap import bootstrap_means

RANKED = np.array([[4, 2, 0, 1], [3, 1, 2, -1], [-1, -1, -1, -1]], np.int32)
INDPTR = np.array([0, 1, 4, 5])
TARGETS = np.array([0, 3, 2, 0, 4], np.int32)
LOG2_3 = np.log2(3)


@pytest.fixture
def values():
    hits = metrics.hit_matrix(RANKED, INDPTR, TARGETS, item_count=5)
    return metrics.per_user(hits, np.diff(INDPTR), [1, 3, 4])


def test_hits_are_the_users_own_targets_only():
    hits = metrics.hit_matrix(RANKED, INDPTR, TARGETS, item_count=5)
    assert hits.tolist() == [[False, False, True, False], [True, False, True, False], [False] * 4]


def test_recall_divides_by_the_number_of_targets(values):
    assert values["recall@1"].tolist() == [0, pytest.approx(1 / 3), 0]
    assert values["recall@3"].tolist() == [1, pytest.approx(2 / 3), 0]


def test_ndcg_is_relative_to_the_best_possible_list(values):
    ideal = 1 + 1 / LOG2_3 + 1 / 2
    assert values["ndcg@3"].tolist() == [0.5, pytest.approx((1 + 0.5) / ideal), 0]
    assert values["ndcg@1"].tolist() == [0, 1, 0]


def test_mrr_is_the_inverse_rank_of_the_first_hit(values):
    assert values["mrr@3"].tolist() == [pytest.approx(1 / 3), 1, 0]
    assert values["mrr@1"].tolist() == [0, 1, 0]


def test_map_averages_the_precision_at_each_hit(values):
    assert values["map@3"].tolist() == [pytest.approx(1 / 3), pytest.approx((1 + 2 / 3) / 3), 0]


def test_a_cutoff_beyond_the_list_counts_what_there_is():
    hits = np.array([[False, True]])
    values = metrics.per_user(hits, np.array([1]), [10])
    assert values["recall@10"].tolist() == [1.0]
    assert values["ndcg@10"].tolist() == [pytest.approx(1 / LOG2_3)]


def test_users_without_targets_hit_nothing():
    assert not metrics.hit_matrix(RANKED, np.zeros(4, int), np.zeros(0, np.int32), 5).any()


def test_coverage_counts_items_in_anybodys_list():
    assert metrics.coverage(RANKED, 10) == 0.5
    assert metrics.coverage(np.full((2, 3), -1), 10) == 0.0


def test_novelty_is_the_mean_surprise_of_the_list():
    counts = np.array([7.0, 3.0, 1.0, 0.0, 0.0])
    found = metrics.novelty(np.array([[0, 1], [2, -1], [-1, -1]], np.int32), counts, user_count=7)
    assert found[:2].tolist() == [pytest.approx(0.5), pytest.approx(2.0)]
    assert np.isnan(found[2])


def test_popularity_percentile_is_one_half_where_all_items_are_equal():
    ranked = np.array([[0, 1]], np.int32)
    assert metrics.popularity_percentile(ranked, np.array([2.0, 2.0, 2.0, 2.0])).tolist() == [0.5]
    assert metrics.popularity_percentile(ranked, np.array([9.0, 8.0, 1.0, 1.0])).tolist() == [pytest.approx(0.75)]


def test_diversity_is_one_minus_the_mean_cosine_of_the_pairs():
    vectors = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    ranked = np.array([[0, 1, 2], [0, 2, -1], [1, -1, -1]], np.int32)
    found = metrics.intra_list_diversity(ranked, vectors)
    assert found[:2].tolist() == [pytest.approx(2 / 3), pytest.approx(0.0)]
    assert np.isnan(found[2])


def test_the_interval_covers_the_mean_and_narrows_with_more_users():
    random = np.random.default_rng(0)
    few, many = (bootstrap_means({"x": random.random(n)}, resamples=200)["x"] for n in (50, 5_000))
    assert few.low < few.mean < few.high
    assert many.high - many.low < (few.high - few.low) / 5


def test_undefined_values_are_left_out_of_the_mean():
    found = bootstrap_means({"x": np.array([1.0, np.nan, 3.0]), "y": np.ones(3)}, resamples=20)
    assert found["x"].mean == 2.0
    assert (found["y"].low, found["y"].high) == (1.0, 1.0)
