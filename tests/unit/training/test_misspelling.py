"""Queries with one slip of the finger."""

import re

from hypothesis import given
from hypothesis import strategies as st

from training.misspelling import LEAST_LETTERS, misspelt

WORDS = st.text("abcdefgh 0123", min_size=1, max_size=20)


def distance(ours: str, theirs: str) -> int:
    """Edits from one to the other, neighbours swapped counting once (optimal string alignment)."""
    rows = [list(range(len(theirs) + 1))]
    for i, a in enumerate(ours, 1):
        row = [i]
        for j, b in enumerate(theirs, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b)))
            if i > 1 and j > 1 and a == theirs[j - 2] and ours[i - 2] == b:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


@given(st.lists(WORDS, min_size=1, max_size=5), st.integers(0, 9))
def test_each_long_query_gets_exactly_one_edit_and_short_ones_none(queries: list[str], seed: int) -> None:
    made = misspelt(queries, seed)
    assert made == misspelt(queries, seed)
    for query, other in zip(queries, made, strict=True):
        long = len(re.findall("[a-z]", query)) >= LEAST_LETTERS
        assert distance(query, other) == (1 if long else 0)
