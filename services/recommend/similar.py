"""Items like another item."""

import numpy as np

from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Source, source_names
from services.recommend.result import SimilarItems

CONTENT_WEIGHT = 0.5
"""Of the content's cosine beside the co-engagement score, both 0–1."""


def similar_items(snapshot: ItemSnapshot, item_id: str, count: int) -> SimilarItems | None:
    """Available items by `(1 − w) · co-engagement + w · cosine`, best first; None where the item is unknown."""
    item = snapshot.index_of(item_id)
    if item < 0:
        return None
    neighbours = snapshot.neighbours[item]
    held = neighbours >= 0
    score = {
        int(i): (1 - CONTENT_WEIGHT) * float(s)
        for i, s in zip(neighbours[held], snapshot.neighbour_scores(item)[held], strict=True)
    }
    found = dict.fromkeys(score, int(Source.ITEM_TO_ITEM))
    if snapshot.has_vector[item]:
        near, _ = snapshot.nearest(snapshot.vectors[item][None, :], 2 * count + 1)
        for i in near[0][near[0] >= 0].tolist():
            found[i] = found.get(i, 0) | Source.CONTEXT
        everything = np.fromiter(found, np.int32, len(found))
        cosine = np.maximum(snapshot.vectors[everything] @ snapshot.vectors[item], 0)
        for i, likeness in zip(everything.tolist(), cosine.tolist(), strict=True):
            score[i] = score.get(i, 0.0) + CONTENT_WEIGHT * likeness
    best = sorted((i for i in found if i != item and snapshot.available[i]), key=lambda i: (-score[i], i))[:count]
    return SimilarItems(
        item_ids=[str(snapshot.item_ids[i]) for i in best],
        scores=[round(score[i], 6) for i in best],
        sources=[["content" if n == "context" else n for n in source_names(found[i])] for i in best],
    )
