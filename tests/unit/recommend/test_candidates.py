import numpy as np
import pytest

from services.recommend.candidates import STEADINESS, Hits, Source, is_in, merge, source_names


def hits(source: Source, *items: int) -> Hits:
    return Hits(source, np.array(items, np.int32))


def test_an_item_from_two_sources_is_one_candidate_with_both_named():
    merged = merge([hits(Source.POPULAR, 4, 2), hits(Source.TRENDING, 7, 4)])
    assert merged.indices.tolist() == [2, 4, 7]
    assert [source_names(mask) for mask in merged.sources.tolist()] == [
        ["popular"],
        ["trending", "popular"],
        ["trending"],
    ]


def test_votes_are_summed_over_the_lists_an_item_is_in():
    k = STEADINESS
    merged = merge([hits(Source.POPULAR, 1, 2, 3), hits(Source.ITEM_TO_ITEM, 3)])
    assert merged.votes.tolist() == pytest.approx([1 / k, 1 / (k + 1), 1 / (k + 2) + 2 / k])


def test_the_best_have_the_most_votes():
    merged = merge([hits(Source.POPULAR, 9, 8, 7), hits(Source.NEWEST, 1, 2, 7)])
    assert merged.best(3).indices.tolist() == [1, 7, 9]
    assert merged.best(6).indices.tolist() == [1, 2, 7, 8, 9]


def test_the_learned_query_counts_most_but_not_for_everything():
    learned = hits(Source.QUERY, *range(100, 600))
    merged = merge([learned, hits(Source.NEWEST, *range(50))]).best(500)
    assert set(range(8)) <= set(merged.indices.tolist())
    assert (merged.indices < 50).sum() < 25


def test_retrieval_scores_lie_between_0_and_1_in_the_order_of_votes():
    merged = merge([hits(Source.QUERY, 5, 6), hits(Source.ITEM_TO_ITEM, 6), hits(Source.POPULAR, 7)])
    scores = merged.retrieval_scores()
    assert scores[0] == pytest.approx(0.5) and scores[1] > scores[0] > scores[2] > 0
    assert scores.max() < 1


def test_no_lists_give_no_candidates():
    assert len(merge([])) == 0
    assert len(merge([hits(Source.POPULAR)])) == 0


def test_is_in_finds_values_beyond_both_ends():
    values = np.array([2, 4, 6], np.int32)
    assert is_in(values, np.array([1, 4, 9, -1], np.int32)).tolist() == [False, True, False]
    assert is_in(values, np.array([], np.int32)).tolist() == [False, False, False]
    assert is_in(np.array([], np.int32), values).tolist() == []
