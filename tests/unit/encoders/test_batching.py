"""Token batches hold each row once, within the budget, padded where the mask is 0."""

import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.encoders.batching import one_ahead, token_batches


def test_rows_are_sorted_by_length_and_padded() -> None:
    first, second = token_batches([[1], [2, 3, 4], [5, 6]], token_budget=6, pad_id=9)
    assert first.rows.tolist() == [1, 2]
    assert first.ids.tolist() == [[2, 3, 4], [5, 6, 9]]
    assert first.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert (second.rows.tolist(), second.ids.tolist()) == ([0], [[1]])


def test_a_sequence_above_the_budget_gets_its_own_batch() -> None:
    assert [batch.ids.shape for batch in token_batches([[1] * 10, [2] * 10], token_budget=4)] == [(1, 10), (1, 10)]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 200))
def test_every_sequence_comes_once_and_whole(lengths: list[int], budget: int) -> None:
    sequences = [list(range(i, i + length)) for i, length in enumerate(lengths)]
    seen: dict[int, list[int]] = {}
    for batch in token_batches(sequences, budget):
        assert batch.ids.size <= max(budget, batch.ids.shape[1])
        for row, ids, mask in zip(batch.rows, batch.ids, batch.mask, strict=True):
            seen[int(row)] = ids[mask.astype(bool)].tolist()
    assert [seen[i] for i in range(len(sequences))] == sequences
    assert len(seen) == len(sequences)


def test_nothing_gives_no_batch() -> None:
    assert list(token_batches([], 10)) == []
    assert np.concatenate([batch.rows for batch in token_batches([[1]], 1)]).tolist() == [0]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_results_come_in_order_and_the_next_is_made_meanwhile(count: int) -> None:
    here, made = threading.current_thread(), [threading.Event() for _ in range(count + 1)]
    makers: list[threading.Thread] = []

    def make(number: int) -> int:
        makers.append(threading.current_thread())
        made[number].set()
        return number

    found = []
    for number in one_ahead(partial(make, number) for number in range(count)):
        found.append(number)
        assert number + 1 == count or made[number + 1].wait(10)
    assert found == list(range(count))
    assert makers[:1] == [here] * min(count, 1)
    assert here not in makers[1:]


def test_what_fails_ahead_is_raised_in_its_turn() -> None:
    def calls() -> Iterator[partial[float]]:
        yield from (partial(float, text) for text in ("1", "2", "x", "4"))

    found: list[float] = []
    with pytest.raises(ValueError, match="x"):
        found.extend(one_ahead(calls()))
    ahead = one_ahead(calls())
    assert [next(ahead), next(ahead)] == [1.0, 2.0]
    ahead.close()
