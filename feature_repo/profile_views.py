"""Who a user is to the shop: the readable profile, affinities, vectors, and the packed portrait that serving reads."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Bytes, Float32, Int32, String, UnixTimestamp

from feature_repo import names
from feature_repo.entities import OWNER, user
from feature_repo.sources import affinity_table, profile_push, profile_table, serving_push

PORTRAIT_TTL = timedelta(days=400)
"""After six half-lives of the long-term profile and a year's seasons nothing of a portrait is worth serving."""

KEY = Field(name=names.USER_ID, dtype=String)

user_profile = FeatureView(
    name=names.USER_PROFILE,
    entities=[user],
    ttl=PORTRAIT_TTL,
    schema=[
        KEY,
        Field(name="confidence", dtype=Float32, description="how much the portrait rests on, 0–1"),
        Field(name="lifecycle", dtype=String, description="new, active, cooling or dormant"),
        Field(name="event_count", dtype=Int32, description="events behind the portrait"),
        Field(name="newest_event", dtype=UnixTimestamp, description="time of the newest event"),
        Field(name="interests", dtype=String, description="JSON: up to five interests with medoid item and weight"),
        Field(name="recent_items", dtype=String, description="JSON: the latest engaged items, newest first"),
    ],
    source=profile_push,
    description="The readable profile of a user.",
    tags={"group": "profile"},
    owner=OWNER,
)

user_affinities = FeatureView(
    name=names.USER_AFFINITIES,
    entities=[user],
    ttl=PORTRAIT_TTL,
    schema=[
        KEY,
        Field(name="categories", dtype=String, description="JSON: [[category, weight], …], heaviest first"),
        Field(name="brands", dtype=String, description="JSON: [[brand, weight], …], heaviest first"),
        Field(name="price_typical", dtype=Float32, description="weighted geometric mean of prices"),
        Field(name="price_low", dtype=Float32, description="lower end of the 10–90% price band"),
        Field(name="price_high", dtype=Float32, description="upper end of the 10–90% price band"),
    ],
    source=affinity_table,
    description="Smoothed category, brand and price affinities of a user.",
    tags={"group": "profile"},
    owner=OWNER,
)

user_vectors = FeatureView(
    name=names.USER_VECTORS,
    entities=[user],
    ttl=PORTRAIT_TTL,
    schema=[
        KEY,
        Field(name="long_term", dtype=Bytes, description="little-endian float16, L2-normalised; half-life 60 days"),
        Field(name="short_term", dtype=Bytes, description="little-endian float16, L2-normalised; half-life 1 day"),
        Field(name="space", dtype=String, description="the vector space; different spaces are not comparable"),
    ],
    source=profile_table,
    online=False,  # serving has them in the packed portrait
    description="Long-term and short-term vectors of a user, for training.",
    tags={"group": "profile"},
    owner=OWNER,
)

user_serving = FeatureView(
    name=names.USER_SERVING,
    entities=[user],
    ttl=PORTRAIT_TTL,
    schema=[
        KEY,
        Field(name=names.PACKED, dtype=Bytes, description="the portrait (services/features/portrait.py)"),
    ],
    source=serving_push,
    description="The packed portrait: all that a request needs of a user, in one read.",
    tags={"group": "serving"},
    owner=OWNER,
)
