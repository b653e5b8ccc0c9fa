"""Which items hold a query's words, and how well: exact, vectorised, over the word tables.

BM25 of term t in field f of item i: ln(1 + (N − n + ½)/(n + ½)) · c(k₁ + 1)/(c + k₁(1 − b + b·length/mean length)),
c its count there, n the items whose field has it (Robertson and Zaragoza, 2009).
"""

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


@dataclass(frozen=True)
class Match:
    """`rows` int32 ascending: items that match. `weights`: by word float32 (m,), how well each item holds it.

    `strict`: whether they hold all demanded words. `rarity` float32 (words,): ln(1 + N/n), 0 for unknown words.
    """

    rows: RowArray
    weights: list[FloatArray]
    strict: bool
    rarity: FloatArray


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
        weights = [self._weights_of(word) for word in words]
        rarity = np.array([self._rarity(weight) for weight in weights], np.float32)
        demanded = [i for i, word in enumerate(words) if not word.optional]
        if not demanded:
            return Match(np.empty(0, np.int32), weights, False, rarity)
        held = np.ones(self._count, bool)
        for i in demanded:
            held &= weights[i] > 0
        rows = np.flatnonzero(held).astype(np.int32)
        strict = bool(rows.size)
        if not strict and rarity[demanded].any():
            share = np.zeros(self._count, np.float32)
            for i in demanded:
                share += rarity[i] * (weights[i] > 0)
            least = max(self._config.relaxed_share * float(rarity[demanded].sum()), float(rarity[rarity > 0].min()))
            rows = np.flatnonzero(share >= least - 1e-6).astype(np.int32)
        return Match(rows, weights, strict, rarity)

    def field_scores(self, words: Sequence[QueryWord], rows: RowArray) -> FloatArray:
        """BM25 of each of some rows (n,), ascending, in each field, float32 (n, len(FIELDS)); −1 is no item's row.

        A word scores in a field what its best alternative does, times that one's weight.
        """
        scores = np.zeros((rows.size, len(FIELDS)), np.float32)
        for word in words:
            for column in self._used:
                best: FloatArray | None = None
                for said in word.alternatives:
                    value = self._score(column, said, rows)
                    if value is not None:
                        best = value * said.weight if best is None else np.maximum(best, value * said.weight)
                if best is not None:
                    scores[:, column] += best
        return scores

    def _find(self, term: str) -> int | None:
        """The term's place in all arrays, None when no item has it."""
        wanted = np.uint64(term_hash(term))
        at = int(np.searchsorted(self._terms, wanted))
        return at if at < self._terms.size and self._terms[at] == wanted else None

    def _weights_of(self, word: QueryWord) -> FloatArray:
        """How well each item holds a word: the weight of the best alternative that it has, float32 (m,)."""
        weights = np.zeros(self._count, np.float32)
        for said in sorted(word.alternatives, key=lambda said: said.weight):
            for column in self._used:
                weights[self._holding(column, said)] = said.weight
        return weights

    def _holding(self, column: int, said: Alternative) -> RowArray:
        """Rows whose field has all terms of an alternative."""
        rows = self._rows(column, said.term)
        for term in said.beside:
            rows = np.intersect1d(rows, self._rows(column, term), assume_unique=True)
        return rows

    def _rows(self, column: int, term: str) -> RowArray:
        position = self._position(term)
        field = self._fields[column][0]
        return field.rows[:0] if position is None else field.rows[field.indptr[position] : field.indptr[position + 1]]

    def _rarity(self, weights: FloatArray) -> float:
        holding = int(np.count_nonzero(weights))
        return float(np.log1p(self._count / holding)) if holding else 0.0

    def _score(self, column: int, said: Alternative, rows: RowArray) -> FloatArray | None:
        """BM25 of an alternative's terms in one field of some rows, 0 where one is missing; None where all lack it."""
        total: FloatArray | None = None
        for term in (said.term, *said.beside):
            value = self._term_score(column, term, rows)
            if value is None:
                return None
            total = value if total is None else np.where((total > 0) & (value > 0), total + value, np.float32(0))
        return total

    def _term_score(self, column: int, term: str, rows: RowArray) -> FloatArray | None:
        position = self._position(term)
        if position is None:
            return None
        field, norm = self._fields[column]
        start, end = int(field.indptr[position]), int(field.indptr[position + 1])
        if start == end:
            return None
        holders = field.rows[start:end]
        at = np.searchsorted(holders, rows)
        at[at == holders.size] = 0
        held = holders[at] == rows
        count = field.counts[start:end][at[held]].astype(np.float32)
        n = end - start
        idf = np.float32(np.log1p((self._count - n + 0.5) / (n + 0.5)))
        scores = np.zeros(rows.size, np.float32)
        scores[held] = idf * count * np.float32(self._config.k1 + 1) / (count + norm[rows[held]])
        return scores
