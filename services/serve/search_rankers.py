"""Which ranker orders the results of a search: the trained ones that serve or are tried, else the untrained one."""

from dataclasses import dataclass
from pathlib import Path

from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.features.snapshot import ItemSnapshot
from services.registry.registry import ROLLOUT, UNTRAINED, ModelRegistry, Needs
from services.registry.search_artefact import load_search_ranker
from services.search.features import FEATURES
from services.search.item_terms import ItemTerms
from services.search.ranker import LearnedSearchRanker, UntrainedRanker
from services.search.ranking import CandidateRanker

log = get_logger("gateway")


@dataclass(frozen=True)
class Rankers:
    """`canary`, if any, orders the results of `canary_share` of the users. `refused`: why a version that should serve
    does not; the untrained ranker stands in."""

    champion: CandidateRanker
    canary: CandidateRanker | None = None
    canary_share: float = 0.0
    refused: str | None = None


class SearchRankers:
    """Follows the rollout of search rankers in `folder` (None: there is none, the untrained ranker serves)."""

    def __init__(self, folder: Path | None, metrics: ServingMetrics, *, rerank: bool = True) -> None:
        """`rerank`: whether cross-encoders count, where rankers have one."""
        self._metrics, self._rerank = metrics, rerank
        self._registry = None if folder is None else ModelRegistry(folder, UNTRAINED)
        self._complained: str | None = None

    def mark(self) -> tuple[int, int] | None:
        """What changes when the rollout does."""
        return None if self._registry is None else mark(self._registry.folder / ROLLOUT)

    def over(self, snapshot: ItemSnapshot, terms: ItemTerms) -> Rankers:
        """The rankers of the rollout as it is now, over this snapshot. What is damaged or was made for other features
        or vectors is refused, logged and counted."""
        untrained = UntrainedRanker(terms)
        if self._registry is None:
            return Rankers(untrained)
        needs = Needs(FEATURES, snapshot.space)
        try:
            rollout = self._registry.rollout()
            champion = self._ranker(rollout.champion, needs, terms, untrained)
        except (PortraitError, OSError) as error:
            return Rankers(untrained, refused=self._complain(error))
        try:
            canary = None if rollout.canary is None else self._ranker(rollout.canary, needs, terms, untrained)
        except (PortraitError, OSError) as error:
            self._complain(error)
            return Rankers(champion)
        self._complained = None
        return Rankers(champion, canary, rollout.canary_share)

    def _ranker(self, version: str, needs: Needs, terms: ItemTerms, untrained: UntrainedRanker) -> CandidateRanker:
        if version == UNTRAINED:
            return untrained
        assert self._registry is not None  # without one there is no version to load
        loaded = load_search_ranker(self._registry, version, needs)
        weight = loaded.reranking.weight if loaded.reranking is not None and self._rerank else 0.0
        return LearnedSearchRanker(loaded.network, terms, version, cross_weight=weight)

    def _complain(self, error: Exception) -> str:
        said = str(error)
        if said != self._complained:
            log.warning("search-ranker-refused", error=said)
            self._metrics.search_ranker_failures.inc()
        self._complained = said
        return said


def mark(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
