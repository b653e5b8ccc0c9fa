"""Which items hold a query's words, and how well: exact, vectorised, over the word tables' lists of holders.

BM25 of term t in field f of item i: ln(1 + (N − n + ½)/(n + ½)) · c(k₁ + 1)/(c + k₁(1 − b + b·length/mean length)),
c its count there, n the items whose field has it (Robertson and Zaragoza, 2009).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.search.config import FIELDS, SearchConfig
from services.search.index.postings import FieldPostings, Postings, term_hash
from services.search.understanding import Alternative, QueryWord

REMEMBERED_TERMS = 65_536
"""Places of the latest query terms that are kept."""

FloatArray = NDArray[np.float32]
RowArray = NDArray[np.int32]
PlaceArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Match:
    """`rows` int32 ascending: items that match. `strict`: whether they hold all demanded words.

    `rarity` float32 (words,): ln(1 + N/n), 0 for unknown words, times the weight of the best alternative that any item
    holds: a piece of a model number tells less than the number. `demanded` int (d,): places of the words that are not
    optional.
    """

    rows: RowArray
    strict: bool
    rarity: FloatArray
    demanded: PlaceArray


class Matcher:
    """Matches and scores rows of one index."""

    def __init__(self, postings: Postings, count: int, config: SearchConfig) -> None:
        self._terms, self._count, self._config = postings.terms, count, config
        self._fields: list[tuple[FieldPostings, FloatArray]] = []
        for name in FIELDS:
            field = postings.fields[name]
            mean = max(float(field.lengths.mean()) if field.lengths.size else 0.0, 1e-9)
            self._fields.append(
                (field, (config.k1 * (1 - config.b + config.b * field.lengths / mean)).astype(np.float32))
            )
        self._used = [column for column, (field, _) in enumerate(self._fields) if field.rows.size]
        self.used_boosts = {FIELDS[column]: config.boosts[FIELDS[column]] for column in self._used}
        self._position = lru_cache(maxsize=REMEMBERED_TERMS)(self._find)
        self.boosts = np.array([config.boosts[name] for name in FIELDS], np.float32)

    def knows(self, term: str) -> bool:
        """Whether any item has the term."""
        return self._position(term) is not None

    def frequency(self, term: str) -> int:
        """The most items that have the term in one field."""
        position = self._position(term)
        if position is None:
            return 0
        return max(int(field.indptr[position + 1] - field.indptr[position]) for field, _ in self._fields)

    def match(self, words: Sequence[QueryWord]) -> Match:
        """The items that hold all demanded words; where none does, those that hold the more telling ones."""
        found = [self._holders(word) for word in words]
        held = [rows for rows, _ in found]
        rarity = np.array([weight * self._rarity(rows.size) for rows, weight in found], np.float32)
        demanded = np.array([i for i, word in enumerate(words) if not word.optional], np.intp)
        if not demanded.size:
            return Match(np.empty(0, np.int32), False, rarity, demanded)
        rows = _in_all([held[i] for i in demanded])
        strict = bool(rows.size)
        if not strict and rarity[demanded].any():
            share = np.zeros(self._count, np.float32)
            for i in demanded:
                share[held[i]] += rarity[i]
            rows = np.flatnonzero(share >= self._least(self._config.relaxed_share, rarity, demanded)).astype(np.int32)
        return Match(rows, strict, rarity, demanded)

    def holds_enough(self, match: Match, found: FloatArray) -> BoolArray:
        """Which items (n,) hold `result_share` of what the demanded words tell, by rarity, whether or not others hold
        all. `found` float32 (n, words), as of `field_scores`."""
        rarity = match.rarity[match.demanded]
        if not rarity.any():
            return np.zeros(len(found), bool)
        share = (found[:, match.demanded] > 0) @ rarity
        return share >= self._least(self._config.result_share, match.rarity, match.demanded)

    def _least(self, share: float, rarity: FloatArray, demanded: PlaceArray) -> float:
        """What the rarities of the held words must sum to: a share of the demanded ones', one known word at least."""
        return max(share * float(rarity[demanded].sum()), float(rarity[rarity > 0].min())) - 1e-6

    def field_scores(self, words: Sequence[QueryWord], rows: RowArray) -> tuple[FloatArray, FloatArray]:
        """How some rows (n,) hold the words; −1 is no item's row.

        Returns:
            BM25 in each field, float32 (n, len(FIELDS)): a word scores in a field what its best alternative does, times
            that one's weight. And the weight of the best alternative of each word that any field has, float32
            (n, words), 0 where none does.
        """
        scores = np.zeros((rows.size, len(FIELDS)), np.float32)
        found = np.zeros((rows.size, len(words)), np.float32)
        for place, word in enumerate(words):
            for column in self._used:
                best: FloatArray | None = None
                for said in word.alternatives:
                    at, values = self._score(column, said, rows)
                    if at.size:
                        best = np.zeros(rows.size, np.float32) if best is None else best
                        best[at] = np.maximum(best[at], values * said.weight)
                        found[at, place] = np.maximum(found[at, place], said.weight)
                if best is not None:
                    scores[:, column] += best
        return scores, found

    def _find(self, term: str) -> int | None:
        """The term's place in all arrays, None when no item has it."""
        wanted = np.uint64(term_hash(term))
        at = int(np.searchsorted(self._terms, wanted))
        return at if at < self._terms.size and self._terms[at] == wanted else None

    def _holders(self, word: QueryWord) -> tuple[RowArray, float]:
        """Rows that have any of a word's alternatives in any field, ascending; and the greatest weight of one that any
        row has, 0 for none."""
        pairs = [(self._holding(column, said), said.weight) for said in word.alternatives for column in self._used]
        pairs = [(rows, weight) for rows, weight in pairs if rows.size]
        if not pairs:
            return np.empty(0, np.int32), 0.0
        lists = [rows for rows, _ in pairs]
        return lists[0] if len(lists) == 1 else merged(lists), max(weight for _, weight in pairs)

    def _holding(self, column: int, said: Alternative) -> RowArray:
        """Rows whose field has all terms of an alternative."""
        return _in_all([self._rows(column, term) for term in (said.term, *said.beside)])

    def _rows(self, column: int, term: str) -> RowArray:
        position = self._position(term)
        field = self._fields[column][0]
        return field.rows[:0] if position is None else field.rows[field.indptr[position] : field.indptr[position + 1]]

    def _rarity(self, holding: int) -> float:
        return float(np.log1p(self._count / holding)) if holding else 0.0

    def _score(self, column: int, said: Alternative, rows: RowArray) -> tuple[PlaceArray, FloatArray]:
        """Places of those rows whose field has all terms of an alternative, ascending, and the terms' BM25 there."""
        at, values = self._term_score(column, said.term, rows)
        for term in said.beside:
            having, more = self._term_score(column, term, rows[at])
            at, values = at[having], values[having] + more
        return at, values

    def _term_score(self, column: int, term: str, rows: RowArray) -> tuple[PlaceArray, FloatArray]:
        position = self._position(term)
        field, norm = self._fields[column]
        start, end = (0, 0) if position is None else field.indptr[position : position + 2].tolist()
        n = end - start
        if not n:
            return np.empty(0, np.intp), np.empty(0, np.float32)
        holders = field.rows[start:end]
        place = holders.searchsorted(rows)
        place[place == n] = 0
        at = (holders[place] == rows).nonzero()[0]
        count = field.counts[start:end][place[at]].astype(np.float32)
        idf = np.float32(math.log1p((self._count - n + 0.5) / (n + 0.5)))
        return at, idf * count * np.float32(self._config.k1 + 1) / (count + norm[rows[at]])


def merged(lists: Sequence[RowArray]) -> RowArray:
    """What stands in any of the lists, each of distinct values: ascending, each once."""
    together = np.concatenate(lists)
    together.sort(kind="stable")  # lists that ascend are merged, not sorted
    first = np.ones(together.size, bool)
    np.not_equal(together[1:], together[:-1], out=first[1:])
    return together[first]


def _in_all(lists: Sequence[RowArray]) -> RowArray:
    """What stands in all of the lists, which ascend: the shortest is looked up in the others."""
    rows, *others = sorted(lists, key=len)
    for other in others:
        if not rows.size:
            break
        rows = rows[other[np.minimum(other.searchsorted(rows), other.size - 1)] == rows]
    return rows
