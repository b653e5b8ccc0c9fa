"""The user as the candidate sources see them: the portrait, and what the request's context names, in one snapshot's
numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait, RecentItem
from services.features.portrait_view import PortraitView, view_portrait
from services.features.snapshot import ItemSnapshot
from services.recommend.config import PipelineConfig

MAX_ANCHORS = 20

ITEM_KEYS, CATEGORY_KEYS = ("item_id", "item_ids"), ("category", "categories")
CONTEXT_KEYS = frozenset((*ITEM_KEYS, *CATEGORY_KEYS))
"""What is read of a request's context; other keys are the caller's own."""


@dataclass(frozen=True)
class UserView:
    """Indices int32 into one snapshot; items that it does not hold are left out.

    `query` float32 (W,): the learned query vector, None without a model or a history; its space is the query model's.
    `view`: what the features are computed from. `recent`: the latest items engaged with positively, newest first,
    beside `recent_items`; `medoids`: of the interests, heaviest first; `excluded`: bought and hidden; `categories`:
    favourite category codes, heaviest first; `anchors`: items and `context_categories`: codes that the request's
    context names.
    """

    portrait: Portrait
    view: PortraitView
    recent: NDArray[np.int32]
    recent_items: tuple[RecentItem, ...]
    medoids: NDArray[np.int32]
    excluded: NDArray[np.int32]
    categories: NDArray[np.int32]
    anchors: NDArray[np.int32]
    context_categories: NDArray[np.int32]
    query: NDArray[np.float32] | None = None

    @property
    def has_long_term(self) -> bool:
        return bool(self.view.long_term.any())

    @property
    def has_short_term(self) -> bool:
        return bool(self.view.short_term.any())

    @property
    def cold(self) -> bool:
        """Whether there is nothing to personalise with."""
        known = self.recent.size or self.categories.size or self.view.neighbour_items.indices.size
        return not (known or self.has_long_term or self.has_short_term)


def view_user(portrait: Portrait, context: dict[str, Any], snapshot: ItemSnapshot, config: PipelineConfig) -> UserView:
    """The portrait and the context in the snapshot's numbers."""
    positive = tuple(item for item in portrait.recent_items if item.weight > 0)[: config.item_to_item_items]
    recent = snapshot.indices([item.item_id for item in positive])
    out = portrait.bought + portrait.hidden if config.exclude_bought else portrait.hidden
    return UserView(
        portrait=portrait,
        view=view_portrait(portrait, snapshot),
        recent=recent[recent >= 0],
        recent_items=tuple(item for item, index in zip(positive, recent.tolist(), strict=True) if index >= 0),
        medoids=_held(snapshot, [interest.item_id for interest in portrait.interests]),
        excluded=_held(snapshot, out),
        categories=_codes(snapshot.category_index, [name for name, _ in portrait.categories]),
        anchors=_held(snapshot, _texts(context, *ITEM_KEYS)[:MAX_ANCHORS]),
        context_categories=_codes(snapshot.category_index, _texts(context, *CATEGORY_KEYS)),
    )


def _held(snapshot: ItemSnapshot, item_ids: list[str] | tuple[str, ...]) -> NDArray[np.int32]:
    indices = snapshot.indices(item_ids)
    return indices[indices >= 0]


def _codes(known: dict[str, int], names: list[str]) -> NDArray[np.int32]:
    return np.array([known[name] for name in names if name in known], np.int32)


def _texts(context: dict[str, Any], one: str, many: str) -> list[str]:
    """The texts under a singular and a plural key; a context is free-form, so anything else is not ours."""
    found = [context[one]] if isinstance(context.get(one), str) else []
    several = context.get(many)
    return found + [v for v in several if isinstance(v, str)] if isinstance(several, list) else found
