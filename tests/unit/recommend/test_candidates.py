import numpy as np
import pytest

from services.recommend.candidates import Hits, Source, is_in, merge, source_names


def hits(source: Source, *items: int, quota: int = 10) -> Hits:
    return Hits(source, np.array(items, np.int32), quota)


def test_an_item_from_two_sources_is_one_candidate_with_both_named():
    merged = merge([hits(Source.POPULAR, 4, 2), hits(Source.TRENDING, 7, 4)])
    assert merged.indices.tolist() == [2, 4, 7]
    assert [source_names(mask) for mask in merged.sources.tolist()] == [
        ["popular"],
        ["trending", "popular"],
        ["trending"],
    ]


def test_priority_is_the_best_rank_an_item_has_in_any_list():
    merged = merge([hits(Source.POPULAR, 1, 2, 3), hits(Source.TRENDING, 3)])
    assert merged.priority.tolist() == [0, 65_535 // 10, 0]


def test_the_best_are_those_that_stand_first_in_their_lists():
    merged = merge([hits(Source.POPULAR, 9, 8, 7), hits(Source.NEWEST, 1, 2, 3)])
    assert merged.best(4).indices.tolist() == [1, 2, 8, 9]


def test_a_rank_counts_by_the_quota_of_its_list():
    merged = merge([hits(Source.POPULAR, 5, 6, quota=2), hits(Source.NEWEST, 7, 8, quota=100)])
    assert merged.best(3).indices.tolist() == [5, 7, 8]


def test_retrieval_scores_fall_from_one():
    scores = merge([hits(Source.POPULAR, 5, 6, quota=2)]).retrieval_scores()
    assert scores.tolist() == pytest.approx([1.0, 0.5], abs=1e-4)


def test_no_lists_give_no_candidates():
    assert len(merge([])) == 0
    assert len(merge([hits(Source.POPULAR)])) == 0


def test_is_in_finds_values_beyond_both_ends():
    values = np.array([2, 4, 6], np.int32)
    assert is_in(values, np.array([1, 4, 9, -1], np.int32)).tolist() == [False, True, False]
    assert is_in(values, np.array([], np.int32)).tolist() == [False, False, False]
    assert is_in(np.array([], np.int32), values).tolist() == []
