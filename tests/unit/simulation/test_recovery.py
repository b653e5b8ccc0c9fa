"""The measures of recovered taste, on tables small enough to work out by hand."""

import numpy as np
import polars as pl
import pytest

from services.core.errors import InvalidInput
from services.simulation.recovery import average_ranks, list_ndcg, list_recovery, ndcg, spearman, taste_recovery

TASTES = pl.DataFrame(
    {
        "user_id": ["ann", "bob", "cas"],
        "categories": [["Mugs", "Tea"], ["Rugs"], ["Tea"]],
        "category_weights": [[0.75, 0.25], [1.0], [1.0]],
        "brands": [["Oda"], ["Oda"], ["Kip"]],
        "brand_weights": [[0.9], [-0.9], [0.5]],
    }
)


def test_ties_share_their_average_rank() -> None:
    assert average_ranks(np.array([[3.0, 1.0, 3.0, 0.0]])).tolist() == [[3.5, 2.0, 3.5, 1.0]]


def test_spearman_is_one_for_the_same_order_minus_one_for_the_reverse_and_nan_for_none() -> None:
    found = spearman(np.array([[1.0, 5, 9], [9, 5, 1], [2, 2, 2]]), np.array([[0.1, 0.2, 0.9]] * 3))
    np.testing.assert_allclose(found, [1.0, -1.0, np.nan])


def test_spearman_with_a_tie_is_pearson_of_average_ranks() -> None:
    # ranks (1.5, 1.5, 3) against (1, 2, 3): covariance 1.5, variances 1.5 and 2
    np.testing.assert_allclose(spearman(np.array([[0.0, 0, 1]]), np.array([[1.0, 2, 3]])), [1.5 / np.sqrt(1.5 * 2)])


def test_ndcg_of_a_ranking_is_its_discounted_gain_over_the_best_one() -> None:
    gain = np.array([[3.0, 0.0, 1.0]])
    # ranked: column 1 (gain 0), column 0 (3), column 2 (1)
    reached = 3 / np.log2(3) + 1 / 2
    best = 3 + 1 / np.log2(3)
    np.testing.assert_allclose(ndcg(np.array([[2.0, 9.0, 1.0]]), gain, k=3), [reached / best])
    np.testing.assert_allclose(ndcg(np.array([[2.0, 9.0, 1.0]]), gain, k=1), [0.0])


def test_a_short_list_gains_nothing_at_its_empty_places() -> None:
    gain = np.array([[1.0, 1.0], [0.0, 0.0]])
    found = list_ndcg(np.array([[0, -1], [1, 0]]), gain, k=2)
    np.testing.assert_allclose(found, [1 / (1 + 1 / np.log2(3)), np.nan])


def test_a_repeated_item_and_a_negative_gain_are_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        list_ndcg(np.array([[1, 1]]), np.ones((1, 3)), k=2)
    with pytest.raises(InvalidInput, match="negative"):
        list_ndcg(np.array([[1, 0]]), np.array([[-1.0, 2.0]]), k=2)


def test_the_perfect_lists_beat_the_popular_list_of_everybody() -> None:
    utility = np.array([[4.0, -4.0, -4.0], [-4.0, -4.0, 4.0]])
    found = list_recovery(np.array([[0], [2]]), utility, popularity_I=np.array([9, 1, 1]), k=1)
    assert found.ndcg == pytest.approx(1.0)
    assert found.ndcg_popular == pytest.approx(0.5, abs=0.01)
    assert found.lift == pytest.approx(2.0, abs=0.05)


def test_portraits_that_mirror_the_hidden_taste_are_recovered_whole() -> None:
    portraits = {
        "ann": {"Home > Kitchen > Mugs": 8.0, "Tea": 3.0, "Home": 11.0},
        "bob": {"Rugs": 1.0},
        "cas": {},
        "dee": {"Tea": 1.0},
    }
    found = taste_recovery(portraits, TASTES)
    assert (found.users, found.spearman, found.ndcg) == (2, pytest.approx(1.0), pytest.approx(1.0))


def test_a_wrong_portrait_is_not_rewarded() -> None:
    found = taste_recovery({"ann": {"Tea": 1.0}, "bob": {"Rugs": 1.0}}, TASTES, k=1)
    assert found.spearman < 1.0
    assert found.ndcg == pytest.approx((0.25 / 0.75 + 1.0) / 2)


def test_no_portrait_at_all_gives_no_figure_instead_of_an_error() -> None:
    found = taste_recovery({}, TASTES)
    assert found.users == 0
    assert np.isnan(found.spearman)


def test_an_unknown_kind_of_taste_is_refused() -> None:
    with pytest.raises(InvalidInput, match="categories or brands"):
        taste_recovery({}, TASTES, of="colours")
