"""Why an item is in a page: the words it holds, how near its meaning is, what the user did, and the ranker's parts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait, RecentItem
from services.features.snapshot import ItemSnapshot
from services.search.ranking import RankedScores, RankingInput

LEAST_COSINE = 0.2
LEAST_PART = 1e-4
MAX_TITLE = 80

PERSONAL = frozenset(
    {
        "long_term_cosine",
        "short_term_cosine",
        "interest_cosine",
        "last_cosine",
        "category_affinity",
        "brand_affinity",
        "price_fit",
        "item_to_item",
        "last_item_to_item",
        "neighbour_score",
        "recency",
    }
)
"""Contributions that come from the user's portrait: they speak of the user's own events."""


def reasons_of(items: NDArray[np.int32], asked: RankingInput, ranked: RankedScores) -> list[list[dict[str, Any]]]:
    """A list of reasons for each of some items int32 (n,); empty for those that were not ranked."""
    found = asked.candidates
    at = np.searchsorted(found.indices, items)
    at[at == len(found)] = 0
    known = found.indices[at] == items if len(found) else np.zeros(items.size, bool)
    return [_of_candidate(int(position), asked, ranked) if ok else [] for position, ok in zip(at, known, strict=True)]


def _of_candidate(at: int, asked: RankingInput, ranked: RankedScores) -> list[dict[str, Any]]:
    found = asked.candidates
    reasons: list[dict[str, Any]] = []
    held = found.found[at] > 0
    if held.any():
        words = [word.text for word, holds in zip(asked.query.words, held.tolist(), strict=True) if holds]
        reasons.append({"type": "words", "words": words, "score": round(float(found.lexical[at]), 4)})
    if found.dense[at] >= LEAST_COSINE:
        reasons.append({"type": "meaning", "cosine": round(float(found.dense[at]), 4)})
    parts = {
        name: round(float(value), 4)
        for name, value in zip(ranked.names, ranked.contributions[at], strict=True)
        if abs(value) > LEAST_PART
    }
    personal = {name: value for name, value in parts.items() if name in PERSONAL and value > 0}
    if personal and asked.portrait is not None:
        reasons.append(_of_user(int(found.indices[at]), asked.portrait, asked.snapshot, personal))
    return [*reasons, {"type": "ranking", "contributions": parts}]


def _of_user(item: int, portrait: Portrait, snapshot: ItemSnapshot, parts: dict[str, float]) -> dict[str, Any]:
    """What of the user moved an item: the ranker's personal parts, and the event on the item most like this one."""
    reason: dict[str, Any] = {"type": "user", "parts": parts}
    event = _nearest_event(item, portrait, snapshot)
    if event is not None:
        title = snapshot.titles[snapshot.index_of(event.item_id)]
        shown = title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…"
        reason["event"] = {"item_id": event.item_id, "title": shown, "type": event.type, "timestamp": event.timestamp}
    return reason


def _nearest_event(item: int, portrait: Portrait, snapshot: ItemSnapshot) -> RecentItem | None:
    """The recent positive event on the item with the greatest cosine to this one; None without a comparable one."""
    positive = [event for event in portrait.recent_items if event.weight > 0]
    rows = snapshot.indices([event.item_id for event in positive])
    usable = np.flatnonzero(rows >= 0)
    if not usable.size:
        return None
    cosine = snapshot.vectors[rows[usable]] @ snapshot.vectors[item]
    best = int(cosine.argmax())
    return positive[int(usable[best])] if cosine[best] >= LEAST_COSINE else None
