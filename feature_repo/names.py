"""Names of entities, views, tables and features, written once and imported by both Feast's definitions and services."""

from services.core.types import WINDOWS

PROJECT = "portrait"

USER = "user"
USER_ID = "user_id"
ITEM = "item"
ITEM_ID = "item_id"
EVENT_TIMESTAMP = "event_timestamp"
CREATED = "created"

# Tables in Postgres
BEHAVIOUR_TABLE = "behaviour_features"
PROFILE_TABLE = "profile_features"
AFFINITY_TABLE = "affinity_features"
SERVING_TABLE = "serving_features"
ENGAGEMENT_TABLE = "item_engagement"
VECTOR_TABLE = "item_vectors"
ITEMS_TABLE = "items"

# Feature views
USER_BEHAVIOUR = "user_behaviour"
USER_PROFILE = "user_profile"
USER_AFFINITIES = "user_affinities"
USER_VECTORS = "user_vectors"
USER_SERVING = "user_serving"
ITEM_CATALOGUE = "item_catalogue"
ITEM_ENGAGEMENT = "item_engagement"
ITEM_EMBEDDING = "item_embedding"
REQUEST_CONTEXT = "request_context"

# Feature services
RETRIEVAL_SERVICE = "retrieval"
RANKING_SERVICE = "ranking"
PROFILE_SERVICE = "profile_reading"

PACKED = "packed"

SNAPSHOT_TAG = "snapshot"
"""An item view tagged `snapshot: yes` has its numeric features in the item snapshot (`ItemSnapshot.extra_column`)."""

COUNTED = ("views", "clicks", "favourites", "carts", "purchases", "searches", "reviews", "dwell_ms")
"""What is counted (dwell: summed) in each window."""

STATISTICS = ("depth_mean", "click_position_mean", "rating_mean", "rating_std", "sentiment_mean")
"""Means over the longest window's events; null where there was none (ratings and sentiment: over all events)."""

BEHAVIOUR_FEATURES: tuple[str, ...] = tuple(f"{c}_{w}" for c in COUNTED for w in WINDOWS) + STATISTICS

_LONGEST = max(WINDOWS.values())

BEHAVIOUR_LIFE_S: dict[str, float] = {f"{c}_{w}": float(WINDOWS[w]) for c in COUNTED for w in WINDOWS} | {
    name: float(_LONGEST) if name in ("depth_mean", "click_position_mean") else float("inf") for name in STATISTICS
}
"""For how many seconds after it was computed a value says anything: then its whole window has passed."""

BEHAVIOUR_DEFAULTS: dict[str, float] = {f"{c}_{w}": 0.0 for c in COUNTED for w in WINDOWS} | dict.fromkeys(
    STATISTICS, float("nan")
)
"""What stands in for a value that is older than that: nothing was counted, and a mean of nothing is undefined. For
the packed portrait (`USER_SERVING`) that of an unknown user stands in."""

ENGAGEMENT_COUNTS: tuple[str, ...] = (
    "views_1d",
    "views_7d",
    "views_30d",
    "clicks_1d",
    "clicks_7d",
    "clicks_30d",
    "carts_30d",
    "purchases_7d",
    "purchases_30d",
    "purchases_total",
    "users_total",
)

ENGAGEMENT_LEVELS: tuple[str, ...] = (
    "popularity",
    "trend",
    "click_rate",
    "purchase_rate",
    "rating_mean",
    "rating_count",
    "sentiment_mean",
)
"""`popularity`: log-damped decayed engagement, 0–1; `trend`: recent over expected engagement, ≥ 0; rates: smoothed.
What requests read of an item's engagement."""

ENGAGEMENT_FEATURES: tuple[str, ...] = ENGAGEMENT_COUNTS + ENGAGEMENT_LEVELS
