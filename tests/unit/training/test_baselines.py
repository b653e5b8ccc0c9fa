import numpy as np
import pyarrow as pa
import pytest
from hand_split import ITEMS, split_of

from services.core.errors import InvalidInput
from training.baselines import (
    CoEngagementRecommender,
    Ease,
    Factors,
    ItemNeighbours,
    Popularity,
    last_item_content,
    weighted_profile,
)
from training.recommender import top_items


def lists(recommender, split, k=4) -> list[str]:
    recommender.fit(split)
    return ["".join(ITEMS[i] if i >= 0 else "-" for i in row) for row in recommender.recommend(split.users, k)]


SPLIT = split_of(u="abe", v="bca", w="bd", x="bc")


def test_popularity_offers_what_most_have_and_the_user_has_not():
    # Users by item in the fit part: a 1, b 4, c 2, d 1; what u's own list has is out, ties in catalogue order.
    assert lists(Popularity(), SPLIT) == ["cde-", "ade-"]


def test_item_neighbours_sum_the_cosines_to_the_users_items():
    # b: u v w x; a: u; c: v x; d: w. cos(a,b) = 1/2, cos(b,c) = 2/sqrt(8), cos(b,d) = 1/2.
    assert lists(ItemNeighbours(decay=1.0), SPLIT) == ["cd--", "ad--"]


def test_item_neighbours_keep_the_strongest_only():
    recommender = ItemNeighbours(decay=1.0, neighbours=1)
    # Each item's scores come from its own strongest neighbour: for a and d that is b.
    assert lists(recommender, SPLIT) == ["cd--", "ad--"]
    assert recommender._similarity.getnnz(axis=0).max() == 1


def test_co_engagement_sums_the_shops_pairs_from_the_latest_items():
    def pairs(events: pa.Table, items: pa.Array) -> pa.Table:
        assert len(events) == 8  # the fit part alone
        return pa.table({"item_id": ["a", "b", "b"], "neighbour_id": ["d", "c", "e"], "score": [1.0, 0.4, 0.6]})

    # u has a then b: d gets 1 · 0.5, c 0.4, e 0.6. v has b then c: e gets 0.5 · 0.6; a user's own items are out.
    assert lists(CoEngagementRecommender(pairs, decay=0.5), SPLIT) == ["edc-", "e---"]


VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6], [0, 0]], np.float32)


def test_last_item_content_ranks_by_the_cosine_to_the_last_item():
    assert lists(last_item_content(VECTORS), SPLIT) == ["cd--", "da--"]


def test_the_weighted_profile_mixes_the_history_and_skips_items_without_a_vector():
    recommender = weighted_profile(VECTORS, decay=0.5)
    assert lists(recommender, SPLIT) == ["cd--", "da--"]
    # u: b + a/2 = (0.5, 1): c 1.1, d 1.0.
    assert recommender.scores(np.array([0], np.int32))[0, 2:4] == pytest.approx([1.1, 1.0])


def test_equal_scores_are_ranked_in_catalogue_order_and_nothing_is_invented():
    score = np.array([[1, 3, 3, -np.inf, 3], [-np.inf] * 5], np.float32)
    assert top_items(score, 3).tolist() == [[1, 2, 4], [-1, -1, -1]]
    assert top_items(score, 7)[0].tolist() == [1, 2, 4, 0, -1, -1, -1]


def test_ease_is_the_regression_of_each_item_on_all_others():
    recommender = Ease(regularisation=2.0)
    recommender.fit(SPLIT)
    x = SPLIT.fit_matrix().toarray()
    for item in range(len(ITEMS)):
        others = [other for other in range(len(ITEMS)) if other != item]
        ridge = np.linalg.solve(x[:, others].T @ x[:, others] + 2.0 * np.eye(len(others)), x[:, others].T @ x[:, item])
        np.testing.assert_allclose(recommender._weights[others, item], ridge, atol=1e-5)
        assert recommender._weights[item, item] == 0


@pytest.mark.parametrize("name", ["als", "bpr"])
def test_factors_find_who_buys_what_together(name: str):
    split = split_of(
        **{f"u{n}": ("abc", "bca", "cab")[n % 3] if n % 2 else ("ded", "ede")[n % 4 // 2] for n in range(40)}
    )
    found = lists(Factors(name, seed=0, factors=4), split, k=1)
    assert sum(best in "abc" for best in found) >= len(found) // 2


def test_factors_without_their_library_say_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "implicit.als", None)
    with pytest.raises(InvalidInput, match=r"requirements\.lock"):
        Factors("als", seed=0).fit(SPLIT)
