"""Items near the user's vectors: long-term, short-term and each interest's medoid, all in one index call."""

import numpy as np

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits, Source
from services.recommend.config import PipelineConfig
from services.recommend.user import UserView

MAX_ANCHORS = 3
"""How many of the context's items are searched around."""


class Nearest:
    """Content-based retrieval by cosine."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        view, anchors = user.view, user.anchors[:MAX_ANCHORS]
        queries = np.concatenate(
            (view.long_term[None], view.short_term[None], view.interests, snapshot.vectors[anchors])
        )
        sources = [Source.LONG_TERM, Source.SHORT_TERM]
        sources += [Source.INTEREST] * len(view.interests) + [Source.CONTEXT] * anchors.size
        usable = queries.any(axis=1)
        if not usable.any():
            return []
        found, _ = snapshot.nearest(queries[usable], config.nearest_quota)
        kept = [source for source, use in zip(sources, usable.tolist(), strict=True) if use]
        return [Hits(source, row[row >= 0], config.nearest_quota) for source, row in zip(kept, found, strict=True)]
