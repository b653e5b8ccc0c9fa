"""From a query to a page of results: read, retrieve, filter, rank, sort, count, highlight, explain."""

import math
from copy import copy
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.core.errors import InvalidInput
from services.core.stages import Stages
from services.features.order import rounded
from services.features.portrait import Portrait
from services.features.portrait_view import view_portrait
from services.features.snapshot import ItemSnapshot
from services.search.config import SearchConfig
from services.search.cursor import MOST_SHOWN, decode, encode, short_digests
from services.search.facets import count_facets
from services.search.features import WORD_FEATURES
from services.search.highlight import Highlighter, wanted_terms
from services.search.index.search_index import SearchIndex
from services.search.intent import Intent
from services.search.kept_queries import KeptQueries, KeptQuery
from services.search.matching import Matcher
from services.search.query_memory import query_key
from services.search.ranking import (
    CandidateRanker,
    FusionRanker,
    RankedScores,
    RankingInput,
    TakenItems,
    WordFeatures,
)
from services.search.reader import QueryReader
from services.search.reasons import reasons_of
from services.search.request import MAX_COUNT, SearchRequest, Sort
from services.search.result import Mode, SearchResult
from services.search.retrieval import Retrieved, Retriever
from services.search.sorting import sort_values
from services.search.synonyms import SynonymFile, Synonyms
from services.search.understanding import UnderstoodQuery

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]


BYTES_EACH = 64
"""Of a candidate beside its word features."""
MOST_TITLES = 200
"""Marked titles that are kept of a query."""

RERANKED = 20
"""Results that a cross-encoder may put into another order: the first ones of the whole list."""


@dataclass(frozen=True)
class _List:
    """A whole list in its order: `indices` int32, `scores` float32, parallel. `ranked`: how many the ranker scored."""

    indices: IndexArray
    scores: FloatArray
    ranked: int


@dataclass(frozen=True)
class BegunSearch:
    """A search whose whole list is in the ranker's order, and whose page has not been made yet.

    `leading` int32 (at most `RERANKED`,): the first items of the list, where it is ordered by relevance and the page
    has some of them; empty otherwise.
    """

    request: SearchRequest
    query: UnderstoodQuery
    vector: FloatArray | None
    found: Retrieved
    asked: RankingInput
    ranked: RankedScores
    whole: _List
    shown: NDArray[np.uint32] | None
    leading: IndexArray
    stages: Stages
    kept: KeptQuery


class SearchPipeline:
    """Search over one snapshot and one search index with one ranker. Between requests it keeps what the latest queries
    found, nothing of who asked: safe to share."""

    def __init__(
        self,
        snapshot: ItemSnapshot,
        index: SearchIndex,
        ranker: CandidateRanker | None = None,
        config: SearchConfig | None = None,
        synonyms: SynonymFile | None = None,
        memory: TakenItems | None = None,
    ) -> None:
        self.snapshot, self.index = snapshot, index
        self._memory = memory
        self.ranker: CandidateRanker = FusionRanker() if ranker is None else ranker
        self.config = SearchConfig() if config is None else config
        self._kept = KeptQueries(self.config.kept_query_bytes, 4 * len(WORD_FEATURES) + BYTES_EACH)
        self._matcher = Matcher(index.postings, index.count, self.config)
        self._retriever = Retriever(index, snapshot, self._matcher, self.config)
        self._highlighter = Highlighter(index.analyser)
        self._reader = QueryReader(
            index.analyser,
            index.corrector,
            self._matcher,
            Intent(snapshot, index.analyser),
            Synonyms(SynonymFile() if synonyms is None else synonyms, index.analyser),
            self.config,
        )

    def with_memory(self, memory: TakenItems | None) -> "SearchPipeline":
        """The same with another memory of what people took."""
        other = copy(self)
        other._memory = memory
        return other

    def with_ranker(self, ranker: CandidateRanker) -> "SearchPipeline":
        """The same with another ranker."""
        other = copy(self)
        other.ranker = ranker
        return other

    def read(self, request: SearchRequest) -> UnderstoodQuery:
        """The query as it is understood, before anything is searched for.

        Its `searched` is the text that a query vector should be made of. Raises as `search` does.
        """
        return self._reader.read(request)

    def search(
        self,
        portrait: Portrait | None,
        request: SearchRequest,
        query_vector: FloatArray | None,
        now: float,
        *,
        understood: UnderstoodQuery | None = None,
    ) -> SearchResult:
        """The page for one request; `now` in epoch seconds.

        `query_vector` float32 (D,), L2-normalised, in the snapshot's space; None searches by words alone. `understood`:
        what `read` made of the request, where that was asked already.

        Raises:
            EmptyQuery, QueryTooLong: the query cannot be searched for.
            BadCursor: the cursor is damaged, or of another query.
            InvalidInput: count or offset are out of bounds, or the vector is not of this snapshot's space.
        """
        return self.finish(self.begin(portrait, request, query_vector, now, understood=understood))

    def begin(
        self,
        portrait: Portrait | None,
        request: SearchRequest,
        query_vector: FloatArray | None,
        now: float,
        *,
        understood: UnderstoodQuery | None = None,
    ) -> BegunSearch:
        """The first half of `search`: everything up to the order of the whole list. Raises as `search` does."""
        stages = Stages()
        self._check(request, query_vector)
        query = self._reader.read(request) if understood is None else understood
        stages.lap("read")
        vector = query_vector if self.snapshot.has_vector.any() else None
        kept = self._retrieved(request, query, vector)
        found = kept.found
        query = replace(query, specificity=self._specificity(query, found))
        stages.lap("retrieval")
        asked = self._ranking_input(portrait, query, found, vector, now, kept.features)
        ranked = self.ranker.rank(asked)
        stages.lap("ranking")
        shown = decode(request).shown if request.cursor is not None else None
        whole = self._ordered(request, query, found, ranked)
        leading = whole.indices[: min(RERANKED, whole.ranked)]
        if len(leading) <= (request.offset if shown is None else shown.size):
            leading = leading[:0]
        stages.lap("order")
        return BegunSearch(request, query, vector, found, asked, ranked, whole, shown, leading, stages, kept)

    def finish(self, begun: BegunSearch, added: FloatArray | None = None) -> SearchResult:
        """The page. `added` float32 (leading,): what reading each of `begun.leading` together with the query adds to
        its score; they are put into the order of the sums."""
        request, found, asked, ranked = begun.request, begun.found, begun.asked, begun.ranked
        query, vector, shown, stages = begun.query, begun.vector, begun.shown, begun.stages
        whole = begun.whole if added is None else _reordered(begun.whole, added)
        stages.skip()
        page = self._page(request, whole, shown)
        stages.lap("order")
        items, ids = whole.indices[page], self.snapshot.item_ids.take(whole.indices[page])
        total = 0 if found.near else whole.indices.size
        facets = None
        if request.facets:
            counted = _counted(request, found)
            facets = count_facets(request.facets, self.snapshot, counted, request.filter, self.config.facet_terms)
            stages.lap("facets")
        highlights = None
        if request.highlight:
            highlights = self._highlighted(begun.kept, query, items)
            stages.lap("highlight")
        reasons = None
        if request.explain:
            reasons = reasons_of(items, asked, ranked)
            if added is not None:
                told = dict(zip(begun.leading.tolist(), added.tolist(), strict=True))
                for item, of_item in zip(items.tolist(), reasons, strict=True):
                    if item in told:
                        of_item.append({"type": "read-together", "score": round(told[item], 4)})
            stages.lap("reasons")
        return SearchResult(
            item_ids=ids,
            scores=rounded(whole.scores[page]),
            total=total,
            corrected_query=query.corrected,
            did_you_mean=query.did_you_mean,
            facets=facets,
            highlights=highlights,
            reasons=reasons,
            modes=_modes(found, vector, asked),
            next_cursor=self._next_cursor(request, shown, ids, page, total),
            versions={"snapshot": self.snapshot.version, "index": self.index.version, "ranker": self.ranker.version},
            stages=stages.seconds,
        )

    def candidates(
        self, portrait: Portrait | None, request: SearchRequest, query_vector: FloatArray | None, now: float
    ) -> RankingInput:
        """What the ranker would be asked about for a request."""
        query = self._reader.read(request)
        found = self._retriever.retrieve(query, request.filter, query_vector, self._taken(query))
        query = replace(query, specificity=self._specificity(query, found))
        return self._ranking_input(portrait, query, found, query_vector, now)

    def judge(
        self,
        portrait: Portrait | None,
        request: SearchRequest,
        query_vector: FloatArray | None,
        now: float,
        indices: IndexArray,
    ) -> RankingInput:
        """What the ranker would be asked about these items int32 (n,), ascending and distinct: judged or shown ones."""
        query = self._reader.read(request)
        found = self._retriever.judge(query, indices, query_vector)
        query = replace(query, specificity=self._specificity(query, found))
        return self._ranking_input(portrait, query, found, query_vector, now)

    def warm(self) -> None:
        """Touch what requests touch: pages of the snapshot and the index, dictionaries, buffers."""
        self.snapshot.warm()
        titles = self.snapshot.titles.take(self.snapshot.popular[:3])
        vector = np.zeros(self.snapshot.dimension, np.float32)
        for title in [*titles, "warm up"]:
            request = SearchRequest(title[:60] + " a", explain=True)
            self.search(None, request, vector if vector.size else None, self.snapshot.created)

    def _check(self, request: SearchRequest, vector: FloatArray | None) -> None:
        if not 1 <= request.count <= MAX_COUNT or request.offset < 0:
            raise InvalidInput(f"count must be from 1 to {MAX_COUNT}, offset at least 0")
        if vector is not None and vector.shape != (self.snapshot.dimension,):
            raise InvalidInput(f"The query vector has shape {vector.shape}, the items have {self.snapshot.dimension}")

    def _retrieved(self, request: SearchRequest, query: UnderstoodQuery, vector: FloatArray | None) -> KeptQuery:
        """The query's candidates and what else it matches, as they were found before where they were."""
        taken = self._taken(query)
        meaning = None if vector is None else vector.tobytes()
        key = (query.words, query.demands, msgspec.json.encode(request.filter), meaning, taken.tobytes())
        return self._kept.get(key, lambda: self._retriever.retrieve(query, request.filter, vector, taken))

    def _highlighted(self, kept: KeptQuery, query: UnderstoodQuery, items: IndexArray) -> list[str]:
        """The titles of some items with the words found marked."""
        wanted, known = items.tolist(), kept.titles
        lacking = [item for item in wanted if item not in known]
        titles = self.snapshot.titles.take(np.array(lacking, np.int32)) if lacking else []
        fresh = dict(zip(lacking, self._highlighter.highlighted(titles, wanted_terms(query.words)), strict=True))
        if len(known) + len(fresh) <= MOST_TITLES:
            known.update(fresh)
        return [fresh[item] if item in fresh else known[item] for item in wanted]

    def _ranking_input(
        self,
        portrait: Portrait | None,
        query: UnderstoodQuery,
        found: Retrieved,
        vector: FloatArray | None,
        now: float,
        word_features: WordFeatures | None = None,
    ) -> RankingInput:
        known = portrait is not None and portrait.event_count > 0
        view = view_portrait(portrait, self.snapshot) if portrait is not None and known else None
        memory = None
        if self._memory is not None:
            memory = self._memory.strengths(query_key(query.searched), found.candidates.indices)
        features = {} if word_features is None else word_features
        known_portrait = portrait if known else None
        return RankingInput(query, found.candidates, self.snapshot, known_portrait, view, vector, now, memory, features)

    def _taken(self, query: UnderstoodQuery) -> IndexArray:
        """What people who asked this took most: candidates, whether or not they hold its words."""
        if self._memory is None:
            return np.empty(0, np.int32)
        return self._memory.items_of(query_key(query.searched))[0][: self.config.taken_candidates]

    def _specificity(self, query: UnderstoodQuery, found: Retrieved) -> float:
        """1 for a model number, else 1 − ln(1 + matches)/ln(1 + items)."""
        if any(word.kind == "model" for word in query.words):
            return 1.0
        matches = found.unfiltered.size if found.match.strict else found.candidates.indices.size
        return 1 - math.log1p(matches) / math.log1p(max(self.snapshot.count, 1))

    def _ordered(self, request: SearchRequest, query: UnderstoodQuery, found: Retrieved, ranked: RankedScores) -> _List:
        """The whole list: the ranked candidates, then what else matches, by words; or all in the order asked for."""
        candidates = found.candidates.indices
        if request.sort is not Sort.RELEVANCE:
            items = found.matched if _words_alone(request, found) else candidates
            values = sort_values(request.sort, self.snapshot, items)
            order = np.argsort(-values, kind="stable")
            return _List(items[order], np.nan_to_num(values[order], neginf=0.0).astype(np.float32), 0)
        order = np.argsort(-ranked.scores, kind="stable")
        rest = np.setdiff1d(found.matched, candidates, assume_unique=True)
        scores = ranked.scores[order]
        needed = request.cursor is not None or request.offset + request.count > candidates.size
        if rest.size and needed:
            lexical = self._retriever.lexical_scores(query, rest)
            by_words = np.argsort(-lexical, kind="stable")
            rest, lexical = rest[by_words], lexical[by_words]
            behind = scores[-1] if scores.size else np.float32(0)
            tail = behind - 1 + (lexical - lexical.max(initial=0)) / max(float(lexical.max(initial=0)), 1.0)
            scores = np.concatenate((scores, tail.astype(np.float32)))
        else:
            scores = np.concatenate((scores, np.zeros(rest.size, np.float32)))
        return _List(np.concatenate((candidates[order], rest)), scores, candidates.size)

    def _page(self, request: SearchRequest, whole: _List, shown: NDArray[np.uint32] | None) -> NDArray[np.intp]:
        """Positions in the list of the items of this page."""
        if shown is None:
            return np.arange(whole.indices.size)[request.offset : request.offset + request.count]
        ahead = min(whole.indices.size, shown.size + request.count)
        ids = self.snapshot.item_ids.take(whole.indices[:ahead])
        fresh = np.flatnonzero(~np.isin(short_digests(ids), shown)) if ids else np.empty(0, np.intp)
        return fresh[: request.count]

    def _next_cursor(
        self,
        request: SearchRequest,
        shown: NDArray[np.uint32] | None,
        ids: list[str],
        page: NDArray[np.intp],
        total: int,
    ) -> str | None:
        """None on the last page, and where more was shown than a cursor holds."""
        if shown is None and request.offset:
            return None
        before = np.empty(0, np.uint32) if shown is None else shown
        after = np.concatenate((before, short_digests(ids))) if ids else before
        if not ids or after.size >= min(total, MOST_SHOWN):
            return None
        return encode(request, after)


def _reordered(whole: _List, added: FloatArray) -> _List:
    """The list with something added to its first scores, which stay above those of the others."""
    scores = whole.scores[: added.size].astype(np.float64) + added
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    behind = whole.scores[added.size :]
    if scores.size and behind.size:
        scores = scores + max(float(behind[0] - scores[-1]), 0.0)
    indices = np.concatenate((whole.indices[: added.size][order], whole.indices[added.size :]))
    return _List(indices, np.concatenate((scores.astype(np.float32), behind)), whole.ranked)


def _words_alone(request: SearchRequest, found: Retrieved) -> bool:
    """Whether the results are what the words match, without what is only near in meaning: it has no place in an order
    that does not know how near."""
    return request.sort is not Sort.RELEVANCE and bool(found.matched.size)


def _counted(request: SearchRequest, found: Retrieved) -> IndexArray:
    """What facets count, before the filter: under it these are the results."""
    if found.near or _words_alone(request, found):
        return found.unfiltered
    return np.union1d(found.unfiltered, found.candidates.indices).astype(np.int32)


def _modes(found: Retrieved, vector: FloatArray | None, asked: RankingInput) -> tuple[Mode, ...]:
    modes = []
    if vector is None:
        modes.append(Mode.LEXICAL)
    if not found.unfiltered.size:
        modes.append(Mode.SEMANTIC)
    elif not found.match.strict and not asked.query.demands:
        modes.append(Mode.RELAXED)
    if found.near:
        modes.append(Mode.NEAR)
    if asked.user is None:
        modes.append(Mode.UNPERSONALISED)
    return tuple(modes)
