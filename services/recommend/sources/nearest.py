"""Items near the user's vectors: long-term, short-term and each interest's medoid, all in one index call."""

import numpy as np
from numpy.typing import NDArray

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits, Source
from services.recommend.config import PipelineConfig
from services.recommend.user import UserView

MAX_ANCHORS = 3
"""How many of the context's items are searched around."""
REMEMBERED = 20_000
"""Items whose neighbours are kept: some 8 MB."""


class Nearest:
    """Content-based retrieval by cosine.

    What is near an item depends on the snapshot alone, and interests and contexts name the same items again and again:
    their neighbours are remembered, so that a request mostly searches for its user's two vectors only.
    """

    def __init__(self) -> None:
        self._snapshot: ItemSnapshot | None = None
        self._near: dict[int, NDArray[np.int32]] = {}

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        quota = config.nearest_quota
        if snapshot is not self._snapshot:
            self._snapshot, self._near = snapshot, {}
        near = self._near
        items = [(Source.INTEREST, i) for i in user.medoids.tolist()]
        items += [(Source.CONTEXT, i) for i in user.anchors[:MAX_ANCHORS].tolist()]
        items = [(source, item) for source, item in items if snapshot.has_vector[item]]
        unknown = [item for item in dict.fromkeys(item for _, item in items) if item not in near]
        own = [(Source.LONG_TERM, user.view.long_term)] if user.has_long_term else []
        own += [(Source.SHORT_TERM, user.view.short_term)] if user.has_short_term else []
        if own or unknown:
            queries = np.concatenate([vector[None] for _, vector in own] + [snapshot.vectors[unknown]])
            found, _ = snapshot.nearest(queries, quota)
            rows = [row[row >= 0] for row in found]
            self._remember(unknown, rows[len(own) :])
        else:
            rows = []
        hits = [Hits(source, row) for (source, _), row in zip(own, rows, strict=False)]
        return hits + [Hits(source, near[item][:quota]) for source, item in items]

    def _remember(self, items: list[int], rows: list[NDArray[np.int32]]) -> None:
        near = self._near
        for item, row in zip(items, rows, strict=True):
            if len(near) >= REMEMBERED:
                near.pop(next(iter(near)), None)  # the one that has been known longest
            near[item] = row.copy()
