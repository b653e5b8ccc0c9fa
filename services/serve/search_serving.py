"""Search as it is served: the published index, query memory and synonyms over a snapshot, opened beside the old."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.core.errors import ConfigurationError, CorruptArtefact, PortraitError
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.features.portrait import Portrait, cold_portrait
from services.features.snapshot import ItemSnapshot
from services.recommend.config import PipelineConfig
from services.recommend.fold import fold_events
from services.search.config import SearchConfig
from services.search.index.search_index import SearchIndex, current_index
from services.search.item_terms_store import item_terms_of
from services.search.pipeline import BegunSearch, SearchPipeline
from services.search.query_memory import FILE as MEMORY
from services.search.query_memory import BoundMemory, QueryMemory
from services.search.result import Mode, SearchResult
from services.search.suggest.build import current_suggestions, lookup_key
from services.search.suggest.suggester import Suggester
from services.search.synonyms import FILE as SYNONYMS
from services.search.synonyms import SynonymFile
from services.search.understanding import UnderstoodQuery
from services.serve.buckets import in_share
from services.serve.search_answers import SuggestedText
from services.serve.search_rankers import Rankers, SearchRankers, mark
from services.serve.search_request import WireSearch

FOLDING = PipelineConfig()
RECENT = "recent"
MOST_OWN = 4

log = get_logger("gateway")


@dataclass(frozen=True)
class BegunPage:
    """A search that a pipeline has begun."""

    pipeline: SearchPipeline
    search: BegunSearch

    @property
    def ranker(self) -> str:
        """The version of the ranker that made the order."""
        return self.pipeline.ranker.version

    @cached_property
    def to_read(self) -> list[str]:
        """Titles of the leading results, where the ranker has a cross-encoder that reads them with the query."""
        if not self.pipeline.ranker.cross_weight:
            return []
        return self.pipeline.snapshot.titles.take(self.search.leading)


@dataclass(frozen=True)
class Searching:
    """Everything that answers a search. A request keeps the one it started with.

    `canary`, if any, answers `canary_share` of the users. `ranker_refused`: the trained ranker that should serve could
    not be loaded.
    """

    snapshot: ItemSnapshot
    index: SearchIndex
    pipeline: SearchPipeline
    canary: SearchPipeline | None = None
    canary_share: float = 0.0
    ranker_refused: bool = False
    memory: BoundMemory | None = None
    suggester: Suggester | None = None

    def begin(
        self,
        portrait: Portrait | None,
        request: WireSearch,
        understood: UnderstoodQuery,
        vector: NDArray[np.float32] | None,
        now: float,
    ) -> BegunPage:
        """The list for one request, with the request's own events in the portrait. Raises InvalidInput."""
        if request.recent_events:
            nobody = cold_portrait("", now) if portrait is None else portrait
            folded = fold_events(nobody, request.recent_events, self.snapshot, FOLDING, now)
            portrait = msgspec.structs.replace(folded, event_count=max(folded.event_count, len(folded.recent_items)))
        pipeline = self.pipeline_of(request.user_id)
        return BegunPage(pipeline, pipeline.begin(portrait, request, vector, now, understood=understood))

    def finish(self, begun: BegunPage, cross_scores: NDArray[np.float32] | None = None) -> SearchResult:
        """The page, its list in another order where the cross-encoder has scored `begun.to_read`."""
        added = None if cross_scores is None else begun.pipeline.ranker.cross_weight * cross_scores
        found = begun.pipeline.finish(begun.search, added)
        modes = [Mode.NOT_RERANKED] if begun.to_read and cross_scores is None else []
        if self.ranker_refused:
            modes.append(Mode.RANKER_REFUSED)
        return replace(found, modes=(*found.modes, *modes)) if modes else found

    def pipeline_of(self, user_id: str | None) -> SearchPipeline:
        """The pipeline that answers a user: always the same one during a trial; nobody's searches are not tried on."""
        if self.canary is None or user_id is None or not in_share(user_id, self.canary_share):
            return self.pipeline
        return self.canary

    def suggest(self, typed: str, portrait: Portrait | None, recent: Sequence[str], count: int) -> list[SuggestedText]:
        """Completions of what has been typed: the user's own `recent` searches, newest first, then the shop's."""
        begun = lookup_key(typed)
        own = [text for text in recent if lookup_key(text).startswith(begun)][:MOST_OWN]
        known = {lookup_key(text) for text in own}
        found = [] if self.suggester is None else self.suggester.suggest(typed, portrait, count)
        others = [SuggestedText(one.text, one.source) for one in found if lookup_key(one.text) not in known]
        return [*(SuggestedText(text, RECENT) for text in own), *others][:count]


class SearchFiles:
    """Follows what workers publish for search. What cannot be opened leaves what serves in place, part by part."""

    def __init__(
        self,
        search: Path,
        suggest: Path,
        metrics: ServingMetrics,
        config: SearchConfig | None = None,
        on_first: Callable[[], None] = lambda: None,
        rankers: Path | None = None,
        *,
        rerank: bool = True,
    ) -> None:
        """`on_first` is called when an index with items has been opened for the first time: there will be searches.
        `rankers`: the registry of trained ones; `rerank`: whether their cross-encoders count."""
        self._search, self._suggest, self._metrics, self._on_first = search, suggest, metrics, on_first
        self._config = config
        self._published: tuple[object, ...] = (None,) * 5
        self._rankers = SearchRankers(rankers, metrics, rerank=rerank)
        self._ranked: tuple[object, Rankers] | None = None
        self._suggester: tuple[Path | None, Suggester | None] = (None, None)
        self._known_synonyms = SynonymFile()
        self._index: tuple[Path, SearchIndex] | None = None
        self._memory: tuple[object, QueryMemory | None] = (None, None)
        self._pipeline: tuple[object, SearchPipeline] | None = None
        self.failure: str | None = None

    def changed(self) -> bool:
        """Whether something else is published than was opened last."""
        return self._marks() != self._published

    def over(self, snapshot: ItemSnapshot) -> Searching | None:
        """What is published, over this snapshot; None before the first index, or when it cannot be opened."""
        marks = self._marks()
        try:
            found = self._open(snapshot)
        except (PortraitError, OSError, ValueError) as error:
            if self.failure is None:
                log.warning("search-unusable", error=str(error))
            self.failure = str(error)
            self._metrics.search_index_failures.inc()
            self._published = marks  # tried again when something else is published
            return None
        self._published, self.failure = marks, None
        if found is not None:
            self._metrics.search_index_items.set(found.index.count)
            if found.index.count:
                self._on_first()
                self._on_first = lambda: None
        return found

    def _open(self, snapshot: ItemSnapshot) -> Searching | None:
        folder = current_index(self._search)
        if folder is None:
            return None
        if self._index is None or self._index[0] != folder:
            self._index = folder, SearchIndex.open(folder)
        index = self._index[1]
        rankers = self._trained(snapshot, index)
        made_of = (snapshot.version, folder, mark(self._search / SYNONYMS))
        if self._pipeline is None or self._pipeline[0] != made_of:
            pipeline = SearchPipeline(snapshot, index, rankers.champion, self._config, self._synonyms())
            pipeline.warm()
            self._pipeline = made_of, pipeline
        memory = self._query_memory()
        bound = None if memory is None else BoundMemory(memory, snapshot)
        pipeline = self._pipeline[1].with_memory(bound)
        return Searching(
            snapshot=snapshot,
            index=index,
            pipeline=pipeline.with_ranker(rankers.champion),
            canary=None if rankers.canary is None else pipeline.with_ranker(rankers.canary),
            canary_share=rankers.canary_share,
            ranker_refused=rankers.refused is not None,
            memory=bound,
            suggester=self._suggestions(),
        )

    def _trained(self, snapshot: ItemSnapshot, index: SearchIndex) -> Rankers:
        made_of = (snapshot.version, index.version, self._rankers.mark())
        if self._ranked is None or self._ranked[0] != made_of:
            terms = item_terms_of(snapshot, index.analyser, self._search)
            self._ranked = made_of, self._rankers.over(snapshot, terms)
        return self._ranked[1]

    def _suggestions(self) -> Suggester | None:
        folder = current_suggestions(self._suggest)
        if folder is not None and self._suggester[0] != folder:
            try:
                self._suggester = folder, Suggester(folder)
            except CorruptArtefact as error:
                self._suggester = folder, self._suggester[1]
                self._complain("suggestions-unusable", error)
        return self._suggester[1]

    def _query_memory(self) -> QueryMemory | None:
        """As it was published last; while that cannot be read, as it was before."""
        published = mark(self._search / MEMORY)
        if self._memory[0] != published:
            try:
                self._memory = published, QueryMemory.read(self._search)
            except CorruptArtefact as error:
                self._memory = published, self._memory[1]
                self._complain("query-memory-unusable", error)
        return self._memory[1]

    def _synonyms(self) -> SynonymFile:
        """As a person last wrote them; while what they wrote is no such file, as they were."""
        try:
            self._known_synonyms = SynonymFile.read(self._search / SYNONYMS)
        except ConfigurationError as error:
            self._complain("synonyms-unusable", error)
        return self._known_synonyms

    def _complain(self, what: str, error: PortraitError) -> None:
        log.warning(what, detail=error.detail)
        self._metrics.search_index_failures.inc()

    def _marks(self) -> tuple[object, ...]:
        files = (mark(self._search / name) for name in (MEMORY, SYNONYMS))
        return current_index(self._search), current_suggestions(self._suggest), self._rankers.mark(), *files
