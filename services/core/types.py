"""The domain's closed vocabularies, written once."""

from enum import StrEnum


class EventType(StrEnum):
    IMPRESSION = "impression"
    VIEW = "view"
    CLICK = "click"
    FAVOURITE = "favourite"
    HIDE = "hide"
    CART = "cart"
    PURCHASE = "purchase"
    RATING = "rating"
    REVIEW = "review"
    SEARCH = "search"


class Modality(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"


class Lifecycle(StrEnum):
    NEW = "new"
    ACTIVE = "active"
    COOLING = "cooling"
    DORMANT = "dormant"


class JobKind(StrEnum):
    PROFILES = "profiles"
    EMBEDDINGS = "embeddings"
    FEATURES = "features"
    SNAPSHOT = "snapshot"
    SEARCH = "search"
    TRAIN = "train"
    MATERIALIZE = "materialize"


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


WINDOWS: dict[str, int] = {"1h": 3_600, "1d": 86_400, "7d": 604_800, "30d": 2_592_000}
"""Behaviour windows in seconds, counted by event time."""
