"""Items that others engage with next to the user's latest ones."""

import numpy as np

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits, Source
from services.recommend.config import PipelineConfig
from services.recommend.sources.base import strongest
from services.recommend.user import UserView


class ItemToItem:
    """Co-engagement: the neighbours of the latest items, and of the items the context names."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        quota = config.item_to_item_quota
        hits = []
        if user.view.item_to_item.indices.size:
            hits.append(Hits(Source.ITEM_TO_ITEM, strongest(user.view.item_to_item, quota)))
        if user.anchors.size:
            neighbours = snapshot.neighbours[user.anchors].ravel()
            order = np.argsort(-snapshot.neighbour_scores(user.anchors), axis=None, kind="stable")[:quota]
            found = neighbours[order]
            hits.append(Hits(Source.CONTEXT, found[found >= 0]))
        return hits
