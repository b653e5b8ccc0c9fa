"""Why an item is in a list: the ranker's contributions, traced back to the user's own events where they can be."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.features.portrait import RecentItem
from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Source
from services.recommend.config import PipelineConfig
from services.recommend.user import UserView

VERBS = {
    EventType.VIEW: "viewed",
    EventType.CLICK: "looked at",
    EventType.FAVOURITE: "favourited",
    EventType.CART: "put in your cart",
    EventType.PURCHASE: "bought",
    EventType.RATING: "rated",
    EventType.REVIEW: "reviewed",
}
MAX_TITLE = 80


@dataclass(frozen=True)
class Evidence:
    """Which feature columns speak for which kind of reason; what is not named here explains nothing."""

    co_engaged: tuple[int, ...]
    alike: tuple[int, ...]
    interest: tuple[int, ...]
    category: tuple[int, ...]
    brand: tuple[int, ...]
    price: tuple[int, ...]
    similar_users: tuple[int, ...]
    popular: tuple[int, ...]
    trending: tuple[int, ...]
    new: tuple[int, ...]

    @classmethod
    def of(cls, features: tuple[str, ...]) -> "Evidence":
        """The columns by the features' names."""

        def columns(*names: str) -> tuple[int, ...]:
            return tuple(features.index(name) for name in names)

        return cls(
            co_engaged=columns("item_to_item", "last_item_to_item"),
            alike=columns("long_term_cosine", "short_term_cosine", "last_cosine", "query_cosine"),
            interest=columns("interest_cosine"),
            category=columns("category_affinity"),
            brand=columns("brand_affinity"),
            price=columns("price_fit"),
            similar_users=columns("neighbour_score"),
            popular=columns("popularity"),
            trending=columns("trend"),
            new=columns("freshness"),
        )


class Reasons:
    """Reasons of one list's items. Everything is computed for the returned items only."""

    def __init__(self, user: UserView, snapshot: ItemSnapshot, evidence: Evidence, config: PipelineConfig) -> None:
        self._user, self._snapshot, self._evidence, self._config = user, snapshot, evidence, config

    def of(
        self, items: NDArray[np.int32], contributions: NDArray[np.float32], sources: NDArray[np.uint16], now: float
    ) -> list[list[dict[str, Any]]]:
        """A list of reasons, weightiest first, for each of `items` int32 (n,).

        `contributions` float32 (n, F): `share` is a reason's part of the positive contributions.
        """
        positive = np.maximum(contributions, 0)
        shares = positive / np.maximum(positive.sum(axis=1, keepdims=True), 1e-9)
        by_neighbour = self._co_engaged(items)
        by_likeness = self._most_alike(items)
        return [
            self._of_item(int(item), shares[row], by_neighbour[row], by_likeness[row], int(sources[row]), now)
            for row, item in enumerate(items)
        ]

    def _co_engaged(self, items: NDArray[np.int32]) -> list[RecentItem | None]:
        """For each item the recent item whose neighbour it is most, or None."""
        recent = self._user.recent
        if not recent.size:
            return [None] * items.size
        is_neighbour = self._snapshot.neighbours[recent][None, :, :] == items[:, None, None]
        scores = self._snapshot.neighbour_scores(recent)
        strength = (is_neighbour * scores[None, :, :]).max(axis=2, initial=0.0)
        best = strength.argmax(axis=1)
        found = strength[np.arange(items.size), best] > 0
        return [self._user.recent_items[b] if f else None for b, f in zip(best.tolist(), found.tolist(), strict=True)]

    def _most_alike(self, items: NDArray[np.int32]) -> list[RecentItem | None]:
        """For each item the recent item whose vector is nearest, or None without vectors."""
        recent = self._user.recent
        if not recent.size:
            return [None] * items.size
        cosine = self._snapshot.vectors[items] @ self._snapshot.vectors[recent].T
        best = cosine.argmax(axis=1)
        found = cosine[np.arange(items.size), best] > 0
        return [self._user.recent_items[b] if f else None for b, f in zip(best.tolist(), found.tolist(), strict=True)]

    def _of_item(
        self,
        item: int,
        shares: NDArray[np.float32],
        neighbour: RecentItem | None,
        alike: RecentItem | None,
        sources: int,
        now: float,
    ) -> list[dict[str, Any]]:
        evidence = self._evidence

        def share(columns: tuple[int, ...]) -> float:
            return float(shares[list(columns)].sum())

        found: list[dict[str, Any]] = []
        events: dict[str, dict[str, Any]] = {}
        for event, part in ((neighbour, share(evidence.co_engaged)), (alike, share(evidence.alike))):
            if event is None or part <= 0:
                continue
            if event.item_id in events:
                events[event.item_id]["share"] += part
            else:
                events[event.item_id] = self._because(event, part)
        found += events.values()
        found += self._general(item, {name: share(getattr(evidence, name)) for name in GENERAL})
        found = [reason for reason in found if reason["share"] >= self._config.min_reason_share]
        found.sort(key=lambda reason: -reason["share"])
        chosen = found[: self._config.max_reasons] or [self._fallback(item, sources, now)]
        for reason in chosen:
            reason["share"] = round(min(reason["share"], 1.0), 4)
        return chosen

    def _because(self, event: RecentItem, share: float) -> dict[str, Any]:
        title = self._title(event.item_id)
        return {
            "kind": "event",
            "text": f"because you {VERBS.get(event.type, 'chose')} {title}",
            "share": share,
            "item_id": event.item_id,
            "event": {"type": event.type, "timestamp": event.timestamp},
        }

    def _title(self, item_id: str) -> str:
        title = str(self._snapshot.titles[self._snapshot.index_of(item_id)])
        return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1].rstrip() + "…"

    def _general(self, item: int, shares: dict[str, float]) -> list[dict[str, Any]]:
        """Reasons that name no event: an interest, an affinity, what others do, how new it is."""
        category, brand = self._category(item), self._brand(item)
        interest = self._interest(item) if shares["interest"] > 0 else None
        texts = {
            "interest": f"it matches your interest in {interest[0]}" if interest else None,
            "category": f"you often choose {category}" if category else None,
            "brand": f"you like {brand}" if brand else None,
            "price": "it is at your usual price level",
            "similar_users": "shoppers like you choose it",
            "popular": f"popular in {category}" if category else "popular right now",
            "trending": "trending now",
            "new": "new in the shop",
        }
        reasons = [{"kind": kind, "text": text, "share": shares[kind]} for kind, text in texts.items() if text]
        for reason in reasons:
            if reason["kind"] == "interest" and interest:
                reason["item_id"] = interest[1]
        return [reason for reason in reasons if reason["share"] > 0]

    def _interest(self, item: int) -> tuple[str, str] | None:
        """Name and medoid of the user's interest nearest to the item."""
        interests = [i for i in self._user.portrait.interests if self._snapshot.index_of(i.item_id) >= 0]
        if not interests:
            return None
        medoids = self._snapshot.indices([i.item_id for i in interests])
        best = interests[int((self._snapshot.vectors[medoids] @ self._snapshot.vectors[item]).argmax())]
        return best.name, best.item_id

    def _fallback(self, item: int, sources: int, now: float) -> dict[str, Any]:
        """What to say of an item that no contribution explains: how it was found."""
        published = float(self._snapshot.published_at[item])
        fresh = now - published < self._config.new_item_days * 86_400
        category = self._category(item)
        if sources & Source.TRENDING:
            return {"kind": "trending", "text": "trending now", "share": 0.0}
        if sources & Source.NEWEST and fresh:
            return {"kind": "new", "text": "new in the shop", "share": 0.0}
        return {"kind": "popular", "text": f"popular in {category}" if category else "popular right now", "share": 0.0}

    def _category(self, item: int) -> str | None:
        """The item's most specific category: the last one it lists."""
        start, end = self._snapshot.category_indptr[item : item + 2]
        return None if start == end else str(self._snapshot.category_names[self._snapshot.category_codes[end - 1]])

    def _brand(self, item: int) -> str | None:
        code = int(self._snapshot.brand[item])
        return None if code < 0 else str(self._snapshot.brand_names[code])


GENERAL = ("interest", "category", "brand", "price", "similar_users", "popular", "trending", "new")
