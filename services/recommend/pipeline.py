"""From a portrait to a list: fold, retrieve, filter, rank, re-rank, explain. Pure NumPy over one item snapshot."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from services.core.stages import Stages
from services.features.filters import ItemFilter
from services.features.order import best_first, rounded
from services.features.portrait import Portrait, cold_portrait
from services.features.snapshot import ItemSnapshot
from services.features.transforms import FEATURES, user_item_features
from services.recommend.candidates import SOURCE_NAMES, Candidates, source_names
from services.recommend.config import PipelineConfig
from services.recommend.exploration import explore
from services.recommend.fold import fold_events
from services.recommend.linear import LinearBlend
from services.recommend.queries import QueryModel
from services.recommend.ranker import Ranker
from services.recommend.reasons import Evidence, Reasons
from services.recommend.request import RankRequest, RecentEvent, RecommendationRequest
from services.recommend.rerank import Group, select
from services.recommend.result import Ranking, Recommendation, SimilarItems
from services.recommend.retrieval import retrieve
from services.recommend.similar import similar_items
from services.recommend.sources import CandidateSource, NearestToQuery, default_sources
from services.recommend.user import UserView, view_user


class RecommendationPipeline:
    """Recommendations over one snapshot with one ranker. It keeps no state between requests: safe to share."""

    def __init__(
        self,
        snapshot: ItemSnapshot,
        ranker: Ranker | None = None,
        config: PipelineConfig | None = None,
        sources: Sequence[CandidateSource] | None = None,
        queries: QueryModel | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.ranker = LinearBlend() if ranker is None else ranker
        self.config = PipelineConfig() if config is None else config
        self._queries = queries
        self._sources = default_sources() if sources is None else tuple(sources)
        if queries is not None:
            self._sources = (NearestToQuery(queries), *self._sources)
        self._evidence = Evidence.of(FEATURES)
        self._source_names = [source_names(mask) for mask in range(1 << len(SOURCE_NAMES))]

    def recommend(
        self, portrait: Portrait, request: RecommendationRequest, now: float, *, seed: str | None = None
    ) -> Recommendation:
        """The list for one request; `now` in epoch seconds. `seed` (the request's id) makes exploration repeatable."""
        stages = Stages()
        user = self._user(portrait, request.recent_events, request.context, now)
        stages.lap("user")
        candidates = self._retrieve(user, request)
        stages.lap("retrieval")
        if not len(candidates):
            return Recommendation([], [], [], [], [] if request.explain else None, 0, user.cold, stages.seconds)
        features = self._features(user, candidates.indices, candidates.retrieval_scores(), now)
        stages.lap("features")
        scores = self.ranker.score(features)
        stages.lap("ranking")
        positions = self._select(scores, candidates, request)
        explored = explore(positions, len(candidates), self.config.exploration, seed or uuid4().hex)
        stages.lap("reranking")
        items = candidates.indices[explored.positions]
        sources = candidates.sources[explored.positions]
        shown = features[explored.positions]
        reasons = None
        if request.explain:
            reasons = self._reasons(user, items, shown, sources, now)
            stages.lap("reasons")
        return Recommendation(
            item_ids=self._ids(items),
            scores=rounded(scores[explored.positions]),
            sources=[self._source_names[mask] for mask in sources.tolist()],
            propensities=explored.propensities.tolist(),
            reasons=reasons,
            candidates=len(candidates),
            cold=user.cold,
            stages=stages.seconds,
            features=shown,
        )

    def candidates(self, portrait: Portrait, request: RecommendationRequest, now: float) -> tuple[Candidates, NDArray]:
        """What the ranker would be asked about for a request: the candidates, and their features float32 (n, F)."""
        user = self._user(portrait, request.recent_events, request.context, now)
        found = self._retrieve(user, request)
        return found, self._features(user, found.indices, found.retrieval_scores(), now)

    def rank(self, portrait: Portrait, request: RankRequest, now: float) -> Ranking:
        """The caller's items in the user's order. Nothing is left out: bought and unavailable items are ranked too."""
        stages = Stages()
        user = self._user(portrait, request.recent_events, {}, now)
        stages.lap("user")
        asked = list(dict.fromkeys(request.item_ids))
        indices = self.snapshot.indices(asked)
        known = np.flatnonzero(indices >= 0)
        unknown = [asked[i] for i in np.flatnonzero(indices < 0).tolist()]
        reasons: list[list[dict] | None] | None = None
        ordered, scores = [], []
        if known.size:
            features = self._features(user, indices[known], None, now)
            stages.lap("features")
            values = self.ranker.score(features)
            order = best_first(values, known.size)
            stages.lap("ranking")
            ordered = [asked[i] for i in known[order].tolist()]
            scores = rounded(values[order])
            if request.explain:
                items = indices[known[order]]
                reasons = self._reasons(user, items, features[order], np.zeros(items.size, np.uint16), now)
                stages.lap("reasons")
        if request.explain:
            reasons = (reasons or []) + [None] * len(unknown)
        return Ranking(
            item_ids=ordered + unknown,
            scores=scores + [None] * len(unknown),
            known=[True] * len(ordered) + [False] * len(unknown),
            reasons=reasons,
            stages=stages.seconds,
        )

    def similar_items(self, item_id: str, count: int) -> SimilarItems | None:
        """Items like this one, by what users engage with next and by content; None for an unknown item."""
        return similar_items(self.snapshot, item_id, count)

    def warm(self) -> None:
        """Touch what requests touch: pages of the snapshot, the index, NumPy's buffers."""
        now = self.snapshot.created
        latest = self._ids(self.snapshot.popular[:3])
        events = tuple(RecentEvent(item_id) for item_id in latest)
        request = RecommendationRequest("warm-up", recent_events=events, explain=True, diversity=0.3)
        for _ in range(3):
            self.recommend(cold_portrait("warm-up", now), request, now)

    def _user(
        self, portrait: Portrait, events: Sequence[RecentEvent], context: dict[str, object], now: float
    ) -> UserView:
        folded = fold_events(portrait, events, self.snapshot, self.config, now) if events else portrait
        user = view_user(folded, context, self.snapshot, self.config)
        return user if self._queries is None else replace(user, query=self._queries.query(folded))

    def _retrieve(self, user: UserView, request: RecommendationRequest) -> Candidates:
        excluded = user.excluded
        if request.exclude:
            excluded = np.concatenate((excluded, self.snapshot.indices(request.exclude)))
        if user.anchors.size:
            excluded = np.concatenate((excluded, user.anchors))
        config = self.config.for_count(request.count)
        enough = 2 * request.count if request.exclude else 0  # quotas do not know what the caller leaves out
        return retrieve(user, self.snapshot, self._sources, request.filter, excluded, enough, config)

    def _features(
        self, user: UserView, indices: NDArray[np.int32], retrieval: NDArray[np.float32] | None, now: float
    ) -> NDArray[np.float32]:
        query = None if user.query is None or self._queries is None else self._queries.vectors[indices] @ user.query
        return user_item_features(user.view, self.snapshot, indices, retrieval, now, query)

    def _select(
        self, scores: NDArray[np.float32], candidates: Candidates, request: RecommendationRequest
    ) -> NDArray[np.intp]:
        """Positions among the candidates, in the list's order."""
        groups = self._caps(request.filter)
        if request.diversity == 0 and not groups:
            return best_first(scores, request.count)
        pool = best_first(scores, max(self.config.pool, request.count))
        items = candidates.indices[pool]
        vectors = self.snapshot.vectors[items] if request.diversity > 0 else None
        capped = tuple(Group(self._group_codes(name, items), cap) for name, cap in groups)
        chosen = select(scores[pool], request.count, vectors=vectors, diversity=request.diversity, groups=capped)
        return pool[chosen]

    def _caps(self, wanted: ItemFilter) -> list[tuple[str, int]]:
        """The caps that hold for this request: one that asks for a brand or category is not capped on it."""
        caps = []
        if self.config.max_per_brand is not None and not wanted.brands:
            caps.append(("brand", self.config.max_per_brand))
        if self.config.max_per_category is not None and not wanted.categories:
            caps.append(("category", self.config.max_per_category))
        return caps

    def _group_codes(self, name: str, items: NDArray[np.int32]) -> NDArray[np.int32]:
        if name == "brand":
            return self.snapshot.brand[items]
        ends = self.snapshot.category_indptr[items + 1]
        has = ends > self.snapshot.category_indptr[items]
        return np.where(has, self.snapshot.category_codes[np.maximum(ends - 1, 0)], -1)

    def _reasons(
        self,
        user: UserView,
        items: NDArray[np.int32],
        features: NDArray[np.float32],
        sources: NDArray[np.uint16],
        now: float,
    ) -> list[list[dict]]:
        contributions = self.ranker.contributions(features)
        return Reasons(user, self.snapshot, self._evidence, self.config).of(items, contributions, sources, now)

    def _ids(self, indices: NDArray[np.int32]) -> list[str]:
        ids = self.snapshot.item_ids
        return [str(ids[i]) for i in indices.tolist()]
