"""The shapes of the gateway's answers: encoded from these structs, and described from them in OpenAPI."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from services.core.types import JobKind

Share = Annotated[float, Meta(ge=0, le=1)]


class ReasonEvent(msgspec.Struct, frozen=True):
    """The user's own event that a reason names. `timestamp` in epoch seconds."""

    type: str
    timestamp: float


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an item is in a list. `share`: its part of what speaks for the item."""

    kind: str
    text: str
    share: Share
    item_id: str | None = None
    event: ReasonEvent | None = None


class RecommendedItem(msgspec.Struct, frozen=True, omit_defaults=True):
    item_id: str
    score: float
    rank: int
    sources: list[str]
    propensity: Share = 1.0
    """The probability with which this item was put here; absent when it is 1."""
    reasons: list[Reason] | None = None


class Model(msgspec.Struct, frozen=True):
    name: str
    version: str


class FeatureStatus(msgspec.Struct, frozen=True):
    """When a feature view's values were computed (epoch seconds), and whether they are present, expired (the declared
    default stands in), missing (nothing is stored) or unavailable (the online store did not answer)."""

    timestamp: float | None
    status: Literal["present", "expired", "missing", "unavailable"]


class Fallback(msgspec.Struct, frozen=True):
    """Why the list is not made from the portrait: events may be missing from it that are older than the surface allows.
    `ranking`: what was declared for that case; with `stale` the portrait was used all the same."""

    reason: Literal["tail-lag", "no-tail", "rebuilding", "emptied", "unreachable"]
    ranking: Literal["popular", "recent_events", "stale"]


class RecommendationAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`profile_age_ms`: age of the newest event in the portrait, null without one. `degraded`: the online store did
    not answer, was emptied or is being rebuilt: the user may have been treated as unknown. `features`: what was read of
    the user, by feature view."""

    request_id: str
    items: list[RecommendedItem]
    model: Model
    profile_age_ms: int | None
    took_ms: float
    cold_start: bool
    degraded: bool
    features: dict[str, FeatureStatus]
    fallback: Fallback | None = None


class RankedItem(msgspec.Struct, frozen=True, omit_defaults=True):
    item_id: str
    rank: int
    score: float | None
    known: bool
    reasons: list[Reason] | None = None


class RankAnswer(msgspec.Struct, frozen=True):
    items: list[RankedItem]
    model: Model
    profile_age_ms: int | None
    took_ms: float
    degraded: bool
    features: dict[str, FeatureStatus]


class SimilarItem(msgspec.Struct, frozen=True):
    item_id: str
    score: float
    sources: list[str]


class SimilarItemsAnswer(msgspec.Struct, frozen=True):
    item_id: str
    items: list[SimilarItem]


class SimilarUser(msgspec.Struct, frozen=True):
    user_id: str
    similarity: float


class SimilarUsersAnswer(msgspec.Struct, frozen=True):
    user_id: str
    users: list[SimilarUser]


class RejectedEntry(msgspec.Struct, frozen=True):
    """One entry of a batch that was not taken; `message` names the field and the cure."""

    index: int
    code: str
    message: str


class EventsAnswer(msgspec.Struct, frozen=True):
    accepted: int
    duplicates: int
    rejected: list[RejectedEntry]


class ItemsAnswer(msgspec.Struct, frozen=True):
    inserted: int
    updated: int
    unchanged: int
    rejected: list[RejectedEntry]


class ItemAnswer(msgspec.Struct, frozen=True):
    item_id: str
    title: str
    description: str | None
    brand: str | None
    categories: list[str]
    price: float | None
    currency: str | None
    attributes: dict[str, Any]
    image_urls: list[str]
    video_urls: list[str]
    available: bool
    published_at: datetime | None
    created_at: datetime
    updated_at: datetime


class UserAnswer(msgspec.Struct, frozen=True):
    user_id: str
    created: bool


class ErasedUserAnswer(msgspec.Struct, frozen=True):
    """`rows`: how many each table had of the user."""

    user_id: str
    rows: dict[str, int]


class RecomputeRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to compute again. `user_ids` narrows `profiles` to some users."""

    what: JobKind
    user_ids: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(min_length=1, max_length=10_000)]
        | None
    ) = None


class JobAccepted(msgspec.Struct, frozen=True):
    """`created` is false where the same work was already under way: its job is named."""

    job_id: UUID
    created: bool


class JobAnswer(msgspec.Struct, frozen=True):
    job_id: UUID
    what: str
    status: Literal["queued", "running", "done", "failed"]
    progress: Share
    error: str | None
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok", "not-ready"]


class Readiness(msgspec.Struct, frozen=True):
    """`snapshot`: the version served, null before the first one. `checks.portraits` tells whether portraits may be
    missing (rebuilding, emptied, unreachable); the gateway is ready all the same."""

    status: Literal["ready", "not-ready"]
    checks: dict[str, str]
    snapshot: str | None


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details. `code` is stable; `detail` says what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class NamedWeight(msgspec.Struct, frozen=True):
    name: str
    weight: float


class PriceLevel(msgspec.Struct, frozen=True):
    typical: float
    low: float
    high: float


class Affinities(msgspec.Struct, frozen=True):
    categories: list[NamedWeight]
    brands: list[NamedWeight]
    price: PriceLevel | None


class InterestAnswer(msgspec.Struct, frozen=True):
    item_id: str
    weight: float
    name: str
    categories: list[str]
    brands: list[str]
    title: str | None = None


class RecentItemAnswer(msgspec.Struct, frozen=True):
    """`timestamp` in epoch seconds."""

    item_id: str
    type: str
    timestamp: float
    weight: float
    title: str | None = None


class ProfileAnswer(msgspec.Struct, frozen=True):
    """The readable portrait (docs/profiles.md). `behaviour`: counters and means, null where undefined. `degraded`: the
    online store was emptied or is being rebuilt: the portrait may be missing."""

    user_id: str
    as_of: float
    profile_age_ms: int | None
    confidence: float
    lifecycle: str
    interests: list[InterestAnswer]
    affinities: Affinities
    behaviour: dict[str, float | None]
    recent_items: list[RecentItemAnswer]
    features: dict[str, FeatureStatus]
    degraded: bool
