"""The pipeline's settings: a frozen value with defaults that suit any shop."""

from dataclasses import dataclass, field, replace

from services.core.types import EventType


def _recent_weights() -> dict[str, float]:
    return {
        EventType.VIEW: 0.3,
        EventType.CLICK: 0.4,
        EventType.FAVOURITE: 0.8,
        EventType.CART: 1.0,
        EventType.PURCHASE: 1.0,
        EventType.RATING: 0.6,
        EventType.REVIEW: 0.7,
    }


@dataclass(frozen=True)
class PipelineConfig:
    """How candidates are found and the list is put together. Quotas are numbers of items a source may bring."""

    max_candidates: int = 500
    """Of which a list of up to half as many is chosen; a longer one is chosen of twice its length (`for_count`)."""
    nearest_quota: int = 60
    """Neighbours of each query vector (long-term, short-term, each interest)."""
    query_quota: int = 500
    """Items nearest to the learned query vector."""
    item_to_item_quota: int = 150
    item_to_item_items: int = 10
    """Of how many of the user's latest items the co-engaged items are taken."""
    similar_users_quota: int = 60
    category_quota: int = 40
    """Popular items of each favourite category."""
    favourite_categories: int = 5
    trending_quota: int = 50
    popular_quota: int = 100
    newest_quota: int = 50
    cold_factor: int = 3
    """By how much the last three quotas and the category quota grow for a user nothing is known of."""

    exclude_bought: bool = True
    pool: int = 200
    """Best-scored items that diversity and caps choose from."""
    max_per_brand: int | None = None
    max_per_category: int | None = None
    """Caps on a list's items of one brand and of one (most specific) category; lifted where they would leave gaps."""

    exploration: float = 0.0
    """Probability with which the last slot shows an item drawn from the candidates (0: never)."""

    short_term_half_life_s: float = 86_400.0
    recent_weights: dict[str, float] = field(default_factory=_recent_weights)
    """What an event of the request counts against the portrait's short-term vector; types that are absent: nothing. A
    rating or review counts by its stars."""
    rating_prior_mean: float = 4.0
    """Stars that count half; as `ProfileConfig` has it."""

    max_reasons: int = 3
    min_reason_share: float = 0.05
    new_item_days: float = 30.0

    def for_count(self, count: int) -> "PipelineConfig":
        """The settings for a list of `count` items: there is something to choose from however long it is."""
        wanted = 2 * count
        if wanted <= self.max_candidates:
            return self
        return replace(self, max_candidates=wanted, query_quota=max(self.query_quota, wanted))
