"""Events of the request count at once: they are folded into the portrait before anything is looked up."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.features.portrait import Portrait, RecentItem, pack_vector, unpack_vector
from services.features.snapshot import ItemSnapshot
from services.recommend.config import PipelineConfig
from services.recommend.request import RecentEvent


def fold_events(
    portrait: Portrait, events: Sequence[RecentEvent], snapshot: ItemSnapshot, config: PipelineConfig, now: float
) -> Portrait:
    """The portrait with those of the events that it does not hold yet: recent items, bought, hidden, short-term vector.

    The short-term vector becomes `2^(−age / half-life) · short_term + Σ w(type) · item vector`, normalised. An event is
    held already when the portrait is newer than it and lists its item with its type.
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
        short_term=portrait.short_term if short_term is None else pack_vector(short_term),
        space=portrait.space if short_term is None else snapshot.space,
    )


def _not_held(portrait: Portrait, events: Sequence[RecentEvent], now: float) -> list[tuple[RecentEvent, float]]:
    newest = portrait.newest_event if portrait.newest_event is not None else -np.inf
    held = {(item.item_id, item.type) for item in portrait.recent_items}
    timed = [(event, event.time(now)) for event in events if event.item_id is not None]
    return [(e, time) for e, time in timed if time > newest or (e.item_id, e.type.value) not in held]


def _newest_distinct(fresh: list[tuple[RecentEvent, float]], config: PipelineConfig) -> tuple[RecentItem, ...]:
    """One entry an item, newest first, under the most telling of its events. A request has a session's few events."""
    found: dict[str, RecentItem] = {}
    for event, time in reversed(fresh):
        weight = -1.0 if event.type is EventType.HIDE else config.recent_weights.get(event.type.value, 0.0)
        known = found.get(event.item_id)
        if known is None or (weight != 0 and abs(weight) > abs(known.weight)):
            found[event.item_id] = RecentItem(event.item_id, event.type.value, time, weight)
    return tuple(found.values())


def _short_term(
    portrait: Portrait, recent: tuple[RecentItem, ...], snapshot: ItemSnapshot, config: PipelineConfig, now: float
) -> NDArray[np.float32] | None:
    """The new short-term vector float32 (D,), or None where the events add nothing to it."""
    indices = snapshot.indices([item.item_id for item in recent])
    weights = np.array([max(item.weight, 0.0) for item in recent], np.float32)
    usable = (indices >= 0) & (weights > 0)
    usable[usable] = snapshot.has_vector[indices[usable]]
    if not usable.any():
        return None
    total = weights[usable] @ snapshot.vectors[indices[usable]]
    before = unpack_vector(portrait.short_term) if portrait.space == snapshot.space else None
    if before is not None:
        age = max(now - portrait.as_of, 0.0)
        total = total + np.float32(2.0 ** (-age / config.short_term_half_life_s)) * before
    norm = float(np.linalg.norm(total))
    return None if norm < 1e-6 else (total / norm).astype(np.float32)
