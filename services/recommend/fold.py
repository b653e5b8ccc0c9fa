"""Events of the request count at once: they are folded into the portrait before anything is looked up."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.features.portrait import Portrait, RecentItem, pack_vector, unpack_vector
from services.features.snapshot import ItemSnapshot
from services.recommend.config import PipelineConfig
from services.recommend.request import RecentEvent

JUDGED = (EventType.RATING, EventType.REVIEW)
NOTHING = 1e-6
CANCELLED = 0.02
"""The share of the likes that, when no more is left of them, is the rounding error of packed vectors."""


def fold_events(
    portrait: Portrait, events: Sequence[RecentEvent], snapshot: ItemSnapshot, config: PipelineConfig, now: float
) -> Portrait:
    """The portrait with those of the events that it does not hold yet: recent items, bought, hidden, short-term vector.

    The short-term vector becomes `2^(−age / half-life) · short_term + Σ w(event) · item vector`, normalised; what is
    disliked pushes away no more than what is liked draws. An event is held already when the portrait is newer than it
    and lists its item with its type.
    """
    fresh = _not_held(portrait, events, now)
    if not fresh:
        return portrait
    recent = _newest_distinct(fresh, config)
    seen = {item.item_id for item in recent}
    short_term = _short_term(portrait, recent, snapshot, config, now)
    return msgspec.structs.replace(
        portrait,
        recent_items=recent + tuple(item for item in portrait.recent_items if item.item_id not in seen),
        bought=tuple(e.item_id for e, _ in fresh if e.type is EventType.PURCHASE) + portrait.bought,
        hidden=tuple(e.item_id for e, _ in fresh if e.type is EventType.HIDE) + portrait.hidden,
        **_vectors(portrait, short_term, snapshot),
    )


def _vectors(portrait: Portrait, short_term: NDArray[np.float32] | None, snapshot: ItemSnapshot) -> dict[str, Any]:
    """What changes of the portrait's vectors: all that are left are of one space."""
    if short_term is None:
        return {}
    long_term = portrait.long_term if portrait.space == snapshot.space else None
    return {"long_term": long_term, "short_term": pack_vector(short_term), "space": snapshot.space}


def _not_held(portrait: Portrait, events: Sequence[RecentEvent], now: float) -> list[tuple[RecentEvent, float]]:
    newest = portrait.newest_event if portrait.newest_event is not None else -np.inf
    held = {(item.item_id, item.type) for item in portrait.recent_items}
    timed = [(event, event.time(now)) for event in events if event.item_id is not None]
    return [(e, time) for e, time in timed if time > newest or (e.item_id, e.type.value) not in held]


def _newest_distinct(fresh: list[tuple[RecentEvent, float]], config: PipelineConfig) -> tuple[RecentItem, ...]:
    """One entry an item, newest first, under the most telling of its events. A request has a session's few events."""
    found: dict[str, RecentItem] = {}
    for event, time in reversed(fresh):
        weight = _weight(event, config)
        known = found.get(event.item_id)
        if known is None or (weight != 0 and abs(weight) > abs(known.weight)):
            found[event.item_id] = RecentItem(event.item_id, event.type.value, time, weight)
    return tuple(found.values())


def _weight(event: RecentEvent, config: PipelineConfig) -> float:
    if event.type is EventType.HIDE:
        return -1.0
    return config.recent_weights.get(event.type.value, 0.0) * _opinion(event, config)


def _opinion(event: RecentEvent, config: PipelineConfig) -> float:
    """The quality of a rating or review, as in portraits (docs/profiles.md): ½ + (stars − mean) / 2, or ½ without
    stars; 1 for other events. What a review's text says is not known yet."""
    if event.type not in JUDGED:
        return 1.0
    return 0.5 if event.rating is None else 0.5 + (event.rating - config.rating_prior_mean) / 2


def _short_term(
    portrait: Portrait, recent: tuple[RecentItem, ...], snapshot: ItemSnapshot, config: PipelineConfig, now: float
) -> NDArray[np.float32] | None:
    """The new short-term vector float32 (D,), zero where dislikes cancel out the likes; None where the events change
    nothing: the opposite of something is not a taste."""
    indices = snapshot.indices([item.item_id for item in recent])
    weights = np.array([item.weight for item in recent], np.float32)
    usable = (indices >= 0) & (weights != 0)
    usable[usable] = snapshot.has_vector[indices[usable]]
    if not usable.any():
        return None
    weights, vectors = weights[usable], snapshot.vectors[indices[usable]]
    liked, disliked = np.maximum(weights, 0) @ vectors, np.minimum(weights, 0) @ vectors
    before = unpack_vector(portrait.short_term) if portrait.space == snapshot.space else None
    if before is not None:
        age = max(now - portrait.as_of, 0.0)
        liked = liked + np.float32(2.0 ** (-age / config.short_term_half_life_s)) * before
    draw, push = float(np.linalg.norm(liked)), float(np.linalg.norm(disliked))
    if draw < NOTHING:
        return None
    total = liked + disliked * np.float32(min(1.0, draw / max(push, NOTHING)))
    norm = float(np.linalg.norm(total))
    return (total / norm if norm > CANCELLED * draw else np.zeros_like(total)).astype(np.float32)
