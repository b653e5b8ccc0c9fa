"""What is known of items. Serving reads them from the item snapshot, which is built from these views."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Bool, Bytes, Float32, Float64, String, UnixTimestamp

from feature_repo import names
from feature_repo.entities import OWNER, item
from feature_repo.sources import engagement_table, items_table, vector_table

FOREVER = timedelta(0)
"""Rows are written when something changes: an old row still holds."""

KEY = Field(name=names.ITEM_ID, dtype=String)

item_catalogue = FeatureView(
    name=names.ITEM_CATALOGUE,
    entities=[item],
    ttl=FOREVER,
    schema=[
        KEY,
        Field(name="title", dtype=String),
        Field(name="description", dtype=String),
        Field(name="brand", dtype=String),
        Field(name="categories", dtype=Array(String), description="from general to specific"),
        Field(name="price", dtype=Float64),
        Field(name="currency", dtype=String),
        Field(name="attributes", dtype=String, description="JSON object of scalars or lists of scalars"),
        Field(name="image_urls", dtype=Array(String)),
        Field(name="video_urls", dtype=Array(String)),
        Field(name="available", dtype=Bool),
        Field(name="published_at", dtype=UnixTimestamp),
        Field(name="created_at", dtype=UnixTimestamp, description="when the item came into the catalogue"),
    ],
    source=items_table,
    description="The catalogue as it is now. It has no history: joined to the past, it shows items changed before.",
    tags={"group": "item"},
    owner=OWNER,
)

ENGAGEMENT_DESCRIPTIONS: dict[str, str] = {
    "purchases_total": "purchases ever",
    "users_total": "distinct users who engaged positively",
    "popularity": "log-damped decayed engagement, 0–1",
    "trend": "recent over expected engagement; 1 is as expected",
    "click_rate": "clicks per examined impression, smoothed",
    "purchase_rate": "purchases per view, smoothed",
    "rating_mean": "mean rating, smoothed, 1–5",
    "rating_count": "number of ratings",
    "sentiment_mean": "mean sentiment of reviews, −1 to 1",
}


def describe(feature: str) -> str:
    """What one of `names.ENGAGEMENT_FEATURES` means."""
    return ENGAGEMENT_DESCRIPTIONS.get(feature) or "{}, last {}".format(*feature.rsplit("_", 1))


item_engagement = FeatureView(
    name=names.ITEM_ENGAGEMENT,
    entities=[item],
    ttl=FOREVER,
    schema=[KEY, *(Field(name=name, dtype=Float32, description=describe(name)) for name in names.ENGAGEMENT_FEATURES)],
    source=engagement_table,
    description="How users engage with an item.",
    tags={"group": "item"},
    owner=OWNER,
)

item_embedding = FeatureView(
    name=names.ITEM_EMBEDDING,
    entities=[item],
    ttl=FOREVER,
    schema=[
        KEY,
        Field(name="space", dtype=String, description="encoder versions and fusion"),
        Field(name="modalities", dtype=Array(String), description="what went into the vector"),
        Field(name="vector", dtype=Bytes, description="little-endian float32, L2-normalised"),
    ],
    source=vector_table,
    online=False,  # serving has them in the item snapshot
    description="The fused vector of an item.",
    tags={"group": "item"},
    owner=OWNER,
)
