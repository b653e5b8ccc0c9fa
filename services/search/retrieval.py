"""Candidate retrieval: the best by words and the nearest by meaning, under the request's filter."""

from collections import OrderedDict
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.features.filters import ItemFilter, filter_mask, passing_rows
from services.features.order import best_first
from services.features.snapshot import ItemSnapshot
from services.search.config import SearchConfig
from services.search.index.search_index import SearchIndex
from services.search.matching import Match, Matcher, merged
from services.search.ranking import SearchCandidates
from services.search.understanding import UnderstoodQuery

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

REMEMBERED_FILTERS = 64
NOTHING = np.empty(0, np.int32)


class Alignment:
    """The rows of a search index as indices of a snapshot, and back; −1 where the other side lacks the item."""

    def __init__(self, index: SearchIndex, snapshot: ItemSnapshot) -> None:
        self.to_snapshot = index.rows_in(snapshot)
        self.to_index = np.full(snapshot.count, -1, np.int32)
        held = self.to_snapshot >= 0
        self.to_index[self.to_snapshot[held]] = np.flatnonzero(held)
        same = index.count == snapshot.count
        self._same = same and bool((self.to_snapshot == np.arange(index.count)).all())

    def indices(self, rows: IndexArray) -> IndexArray:
        """Snapshot indices of ascending rows, ascending; items that the snapshot lacks are left out."""
        if self._same:
            return rows
        found = self.to_snapshot[rows]
        return found[found >= 0]

    def rows(self, indices: IndexArray) -> IndexArray:
        """Index rows of snapshot indices, −1 where the index lacks the item."""
        return indices if self._same else self.to_index[indices]


@dataclass(frozen=True)
class Retrieved:
    """`candidates` to rank. `matched` int32 ascending: every item that the words match and the filter lets through;
    `unfiltered`: the same before the filter. `match`: the same by index row. `near`: there is no result; the candidates
    are what comes nearest.
    """

    candidates: SearchCandidates
    matched: IndexArray
    unfiltered: IndexArray
    match: Match
    near: bool = False

    @property
    def nbytes(self) -> int:
        """Of the arrays that grow with the catalogue; those that are one array count once."""
        return sum({id(rows): rows.nbytes for rows in (self.matched, self.unfiltered, self.match.rows)}.values())


class Retriever:
    """Finds candidates in one index and one snapshot. It remembers the masks of the latest filters, nothing else."""

    def __init__(self, index: SearchIndex, snapshot: ItemSnapshot, matcher: Matcher, config: SearchConfig) -> None:
        self._index, self._snapshot, self._matcher, self._config = index, snapshot, matcher, config
        self.alignment = Alignment(index, snapshot)
        self._masks: OrderedDict[bytes, BoolArray] = OrderedDict()
        share = max(float(snapshot.available.mean()) if snapshot.count else 1.0, 0.05)
        self._lexical_limit = round(config.lexical_candidates / share)

    def retrieve(
        self, query: UnderstoodQuery, wanted: ItemFilter, vector: FloatArray | None, taken: IndexArray = NOTHING
    ) -> Retrieved:
        """The candidates of a query, and what it matches. `taken`: items to rank too, where the filter lets them."""
        match = self._matcher.match(query.words)
        unfiltered = self.alignment.indices(match.rows)
        allowed: BoolArray | None = None
        if query.demands:
            allowed = np.zeros(self._snapshot.count, bool)
            rows = self._index.rows_of_keys(self._index.engine.demanded(query.demands))
            allowed[self.alignment.indices(np.sort(rows))] = True
            unfiltered = unfiltered[allowed[unfiltered]] if query.words else np.flatnonzero(allowed).astype(np.int32)
        matched = unfiltered[filter_mask(wanted, self._snapshot, unfiltered)]
        narrowed = wanted.selective or wanted.available is not True
        mask = self._mask(wanted) if narrowed else None
        if allowed is not None:
            mask = allowed & (self._mask(wanted) if mask is None else mask)
        lexical = self._lexical(query, matched, mask)
        dense, cosines = self._dense(vector, mask)
        taken = taken[filter_mask(wanted, self._snapshot, taken)]
        if allowed is not None:
            taken = taken[allowed[taken]]
        found = merged((lexical, dense, taken))
        cosine = self._cosines(found, vector, dense, cosines)
        scored = _cut(self._scored(query, found, cosine), self._config.max_candidates, taken)
        results = self._results(scored, match, matched, taken) if allowed is None else np.ones(len(scored), bool)
        near = not results.any() and not matched.size
        return Retrieved(scored if near else _those(scored, results), matched, unfiltered, match, near)

    def _results(self, found: SearchCandidates, match: Match, matched: IndexArray, taken: IndexArray) -> BoolArray:
        """Which candidates (n,) are results: they match, hold enough of the words, were taken by people who asked this,
        or are near enough in meaning."""
        held = _among(found.indices, matched) | np.isin(found.indices, taken)
        near = np.nan_to_num(found.dense, nan=-1) >= self._config.meaning_floor
        return held | near | self._matcher.holds_enough(match, found.found)

    def judge(self, query: UnderstoodQuery, indices: IndexArray, vector: FloatArray | None) -> Retrieved:
        """These items, ascending and distinct, as the candidates of a query, whether or not they match it."""
        match = self._matcher.match(query.words)
        matched = self.alignment.indices(match.rows)
        cosine = self._cosines(indices, vector, NOTHING, np.empty(0, np.float32))
        return Retrieved(self._scored(query, indices, cosine), matched, matched, match)

    def lexical_scores(self, query: UnderstoodQuery, indices: IndexArray) -> FloatArray:
        """Boosted BM25 of items of the snapshot, float32 (n,)."""
        return self._matcher.field_scores(query.words, self.alignment.rows(indices))[0] @ self._matcher.boosts

    def _lexical(self, query: UnderstoodQuery, matched: IndexArray, mask: BoolArray | None) -> IndexArray:
        """The best by words, in no order. Under a filter all that match are scored, unless that is too many."""
        limit = self._config.lexical_candidates
        if mask is not None and matched.size <= self._config.narrow:
            return matched[best_first(self.lexical_scores(query, matched), limit)]
        words = [word for word in query.words if not word.optional]
        wide = self._lexical_limit
        if mask is not None:
            wide = min(round(limit / max(float(mask.mean()), 0.01)), 20 * limit)
        keys = self._index.engine.best(words, query.demands, self._matcher.used_boosts, wide)
        indices = self.alignment.to_snapshot[self._index.rows_of_keys(keys)]
        indices = indices[indices >= 0]
        passing = self._snapshot.available[indices] if mask is None else mask[indices]
        return indices[passing][:limit]

    def _dense(self, vector: FloatArray | None, mask: BoolArray | None) -> tuple[IndexArray, FloatArray]:
        """The nearest by meaning, nearest first, down to the floor, with their cosines."""
        if vector is None:
            return NOTHING, np.empty(0, np.float32)
        count = self._config.dense_candidates
        if mask is None:
            found, cosine = self._snapshot.nearest(vector[None], count)
        else:
            among = np.flatnonzero(mask).astype(np.int32)
            if among.size <= self._config.narrow:
                found, cosine = self._snapshot.nearest_among(vector[None], count, among)
            else:
                wide = min(round(count * self._snapshot.count / among.size), self._snapshot.count)
                found, cosine = self._snapshot.nearest(vector[None], wide)
                passing = (found[0] >= 0) & mask[found[0]]
                found, cosine = found[:, passing][:, :count], cosine[:, passing][:, :count]
        kept = (found[0] >= 0) & (cosine[0] >= self._config.dense_floor * cosine[0].max(initial=0))
        return found[0][kept], cosine[0][kept]

    def _cosines(
        self, found: IndexArray, vector: FloatArray | None, dense: IndexArray, cosines: FloatArray
    ) -> FloatArray:
        """The cosine of the query and each candidate, NaN where there is none; those that the index gave stay."""
        values = np.full(found.size, np.nan, np.float32)
        if vector is None:
            return values
        values[np.searchsorted(found, dense)] = cosines
        lacking = np.flatnonzero(np.isnan(values) & self._snapshot.has_vector[found])
        values[lacking] = self._snapshot.vectors.dot(found[lacking], vector)
        return values

    def _scored(self, query: UnderstoodQuery, indices: IndexArray, dense: FloatArray) -> SearchCandidates:
        """The candidates with their scores."""
        fields, found = self._matcher.field_scores(query.words, self.alignment.rows(indices))
        return SearchCandidates(indices, fields @ self._matcher.boosts, dense, fields, found)

    def _mask(self, wanted: ItemFilter) -> BoolArray:
        """The filter's mask over all items; the latest ones are remembered."""
        key = msgspec.json.encode(wanted)
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = np.zeros(self._snapshot.count, bool)
            mask[passing_rows(wanted, self._snapshot)] = True
            while len(self._masks) > REMEMBERED_FILTERS:
                self._masks.popitem(last=False)
        return mask


def _cut(found: SearchCandidates, count: int, always: IndexArray) -> SearchCandidates:
    """At most `count` candidates: those of `always`, then by the better of the two ranks that each has."""
    if len(found) <= count:
        return found
    rank = np.minimum(_ranks(found.lexical), _ranks(np.nan_to_num(found.dense, nan=-2)))
    rank[np.searchsorted(found.indices, always)] = -1
    return _those(found, np.sort(np.argsort(rank, kind="stable")[:count]))


def _among(values: IndexArray, held: IndexArray) -> BoolArray:
    """Which of some values stand in ascending ones."""
    if not held.size:
        return np.zeros(values.size, bool)
    return held[np.minimum(held.searchsorted(values), held.size - 1)] == values


def _those(found: SearchCandidates, kept: NDArray) -> SearchCandidates:
    """Some of the candidates, by ascending place or by a mask."""
    return SearchCandidates(
        found.indices[kept], found.lexical[kept], found.dense[kept], found.field_scores[kept], found.found[kept]
    )


def _ranks(scores: FloatArray) -> NDArray[np.int64]:
    ranks = np.empty(scores.size, np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(scores.size)
    return ranks
