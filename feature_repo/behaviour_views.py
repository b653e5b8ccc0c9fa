"""What a user did lately."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Float32, String

from feature_repo import names
from feature_repo.entities import OWNER, user
from feature_repo.sources import behaviour_push

DESCRIPTIONS: dict[str, str] = {
    "depth_mean": "mean share of the page seen, last 30 days, 0–1",
    "click_position_mean": "mean 0-based position of what was clicked, last 30 days",
    "rating_mean": "mean of the user's ratings, 1–5",
    "rating_std": "standard deviation of the user's ratings",
    "sentiment_mean": "mean sentiment of the user's reviews, −1 to 1",
}


def describe(feature: str) -> str:
    """What one of `names.BEHAVIOUR_FEATURES` means."""
    if feature in DESCRIPTIONS:
        return DESCRIPTIONS[feature]
    counted, window = feature.rsplit("_", 1)
    return f"milliseconds spent on pages, last {window}" if counted == "dwell_ms" else f"{counted}, last {window}"


user_behaviour = FeatureView(
    name=names.USER_BEHAVIOUR,
    entities=[user],
    ttl=timedelta(days=31),
    schema=[
        Field(name=names.USER_ID, dtype=String),
        *(Field(name=name, dtype=Float32, description=describe(name)) for name in names.BEHAVIOUR_FEATURES),
    ],
    source=behaviour_push,
    description="Counters by window and statistics of a user's events, by event time. Older than 31 days: all over.",
    tags={"group": "behaviour"},
    owner=OWNER,
)
