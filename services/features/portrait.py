"""The portrait of a user as one packed value: what the hot path reads in a single round trip.

The packed form is what `services.features.portrait_codec` makes of the columns, behind a one-byte format version. The
forms before it are still read: the same columns deflated, and MessagePack of the struct. Item ids are stored as text,
so a portrait outlives any item snapshot.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from feature_repo.names import BEHAVIOUR_FEATURES
from services.core.errors import CorruptArtefact
from services.core.types import Lifecycle
from services.features import portrait_codec as codec

FORMAT, DEFLATED, WHOLE = 3, 2, 1


class Interest(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A cluster of what a user engages with: its medoid item, its share of the weight, and how to name it."""

    item_id: str
    weight: float
    name: str
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()


class RecentItem(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One of the latest engaged items, newest first. `timestamp` in epoch seconds; `weight` signed, as of `as_of`."""

    item_id: str
    type: str
    timestamp: float
    weight: float


class PriceAffinity(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The user's price level in the shop's currency: weighted geometric mean and the 10–90% band around it."""

    typical: float
    low: float
    high: float


class Portrait(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Everything serving knows of a user, as of `as_of` (epoch seconds).

    `newest_event` is the event time of the newest event in it (epoch seconds; None without events). `long_term` and
    `short_term` are float16 bytes in the vector space `space` (None where the user has no vector). `behaviour` holds
    `names.BEHAVIOUR_FEATURES` in that order, NaN where undefined, as float32 bytes. `categories` and `brands` are
    (name, weight) pairs, heaviest first. `bought` and `hidden` are left out of recommendations. `neighbours` are
    similar users with their cosine; `neighbour_items` what those engage with that this user has not, with scores 0–1.
    """

    user_id: str
    as_of: float
    newest_event: float | None
    event_count: int
    confidence: float
    lifecycle: str
    space: str = ""
    long_term: bytes | None = None
    short_term: bytes | None = None
    interests: tuple[Interest, ...] = ()
    categories: tuple[tuple[str, float], ...] = ()
    brands: tuple[tuple[str, float], ...] = ()
    price: PriceAffinity | None = None
    behaviour: bytes = b""
    recent_items: tuple[RecentItem, ...] = ()
    bought: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    neighbours: tuple[tuple[str, float], ...] = ()
    neighbour_items: tuple[tuple[str, float], ...] = ()

    def behaviour_values(self) -> NDArray[np.float32]:
        """The behaviour features in the order of `names.BEHAVIOUR_FEATURES`; all NaN when there are none."""
        if not self.behaviour:
            return np.full(len(BEHAVIOUR_FEATURES), np.nan, np.float32)
        return np.frombuffer(self.behaviour, "<f4")

    def readable(self, now: float) -> dict[str, Any]:
        """The portrait as `GET /v1/users/{id}/profile` shows it (docs/profiles.md), without feature statuses."""
        values = self.behaviour_values()
        return {
            "user_id": self.user_id,
            "as_of": self.as_of,
            "profile_age_ms": None if self.newest_event is None else max(0, round((now - self.newest_event) * 1000)),
            "confidence": self.confidence,
            "lifecycle": self.lifecycle,
            "interests": [msgspec.structs.asdict(interest) for interest in self.interests],
            "affinities": {
                "categories": [{"name": name, "weight": weight} for name, weight in self.categories],
                "brands": [{"name": name, "weight": weight} for name, weight in self.brands],
                "price": None if self.price is None else msgspec.structs.asdict(self.price),
            },
            "behaviour": {
                name: None if np.isnan(value) else float(value)
                for name, value in zip(BEHAVIOUR_FEATURES, values, strict=True)
            },
            "recent_items": [msgspec.structs.asdict(item) for item in self.recent_items],
        }


_whole = msgspec.msgpack.Decoder(Portrait)


def pack(portrait: Portrait) -> bytes:
    """The packed form of a portrait."""
    return pack_all([portrait])[0]


def pack_all(portraits: Sequence[Portrait]) -> list[bytes]:
    """The packed form of each portrait: numbers and vectors of all of them are converted together."""
    units = partial(_units, portraits)
    columns = zip(
        codec.units([[one.confidence for one in portraits]])[0],
        units(lambda one: [interest.weight for interest in one.interests]),
        units(lambda one: [weight for _, weight in one.categories]),
        units(lambda one: [weight for _, weight in one.brands]),
        units(lambda one: () if one.price is None else (one.price.typical, one.price.low, one.price.high)),
        codec.ages([one.as_of for one in portraits], [[i.timestamp for i in one.recent_items] for one in portraits]),
        units(lambda one: [item.weight for item in one.recent_items], codec.FINEST),
        units(lambda one: [cosine for _, cosine in one.neighbours]),
        units(lambda one: [score for _, score in one.neighbour_items]),
        codec.quantised([one.long_term for one in portraits]),
        codec.quantised([one.short_term for one in portraits]),
        strict=True,
    )
    return [_packed(one, *row) for one, row in zip(portraits, columns, strict=True)]


def _units(
    portraits: Sequence[Portrait], numbers: Callable[[Portrait], Sequence[float]], unit: int = codec.FINE
) -> list[list[codec.Number]]:
    return codec.units([numbers(one) for one in portraits], unit)


def _packed(
    portrait: Portrait,
    confidence: codec.Number,
    interest_weights: list[codec.Number],
    category_weights: list[codec.Number],
    brand_weights: list[codec.Number],
    price: list[codec.Number],
    recent_ages: list[codec.Number],
    recent_weights: list[codec.Number],
    neighbour_cosines: list[codec.Number],
    neighbour_scores: list[codec.Number],
    long_term: bytes,
    short_term: bytes,
) -> bytes:
    recent, interests = portrait.recent_items, portrait.interests
    columns = codec.Columns(
        user_id=portrait.user_id,
        as_of=portrait.as_of,
        newest_event=portrait.newest_event,
        event_count=portrait.event_count,
        confidence=confidence,
        lifecycle=portrait.lifecycle,
        space=portrait.space,
        interest_items=[interest.item_id for interest in interests],
        interest_weights=interest_weights,
        interest_names=[interest.name for interest in interests],
        interest_categories=[interest.categories for interest in interests],
        interest_brands=[interest.brands for interest in interests],
        categories=[name for name, _ in portrait.categories],
        category_weights=category_weights,
        brands=[name for name, _ in portrait.brands],
        brand_weights=brand_weights,
        price=(price[0], price[1], price[2]) if price else None,
        behaviour=portrait.behaviour,
        recent_items=[item.item_id for item in recent],
        recent_types=[item.type for item in recent],
        recent_ages=recent_ages,
        recent_weights=recent_weights,
        bought=portrait.bought,
        hidden=portrait.hidden,
        neighbours=[user_id for user_id, _ in portrait.neighbours],
        neighbour_cosines=neighbour_cosines,
        neighbour_items=[item_id for item_id, _ in portrait.neighbour_items],
        neighbour_scores=neighbour_scores,
    )
    return bytes((FORMAT,)) + codec.encode(columns, long_term, short_term)


def packed_columns(columns: memoryview, long_term: bytes | memoryview, short_term: bytes | memoryview) -> bytes:
    """The packed form of a portrait whose columns are MessagePack and whose vectors are quantised already."""
    return bytes((FORMAT,)) + codec.encode_written(columns, long_term, short_term)


def unpack(packed: bytes) -> Portrait:
    """The portrait of a packed form; its vectors as near as the packing keeps them.

    Raises:
        CorruptArtefact: not a packed portrait, or one of a format that this version does not read.
    """
    if not packed or packed[0] not in (FORMAT, DEFLATED, WHOLE):
        raise CorruptArtefact("A stored portrait has an unknown format: run `portrait profiles recompute`")
    data = memoryview(packed)[1:]
    try:
        if packed[0] == FORMAT:
            return _of_columns(*codec.decode(data))
        return _of_columns(*codec.decode_deflated(data)) if packed[0] == DEFLATED else _whole.decode(data)
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: text that is no UTF-8, columns of unequal length
        raise CorruptArtefact("A stored portrait cannot be decoded: run `portrait profiles recompute`") from error


def _of_columns(c: codec.Columns, long_term: bytes | None, short_term: bytes | None) -> Portrait:
    interests = zip(
        c.interest_items,
        codec.values(c.interest_weights),
        c.interest_names,
        c.interest_categories,
        c.interest_brands,
        strict=True,
    )
    times, weights = codec.moments(c.as_of, c.recent_ages), codec.values(c.recent_weights, codec.FINEST)
    return Portrait(
        user_id=c.user_id,
        as_of=c.as_of,
        newest_event=c.newest_event,
        event_count=c.event_count,
        confidence=codec.values((c.confidence,))[0],
        lifecycle=c.lifecycle,
        space=c.space,
        long_term=long_term,
        short_term=short_term,
        interests=tuple(Interest(*row) for row in interests),
        categories=tuple(zip(c.categories, codec.values(c.category_weights), strict=True)),
        brands=tuple(zip(c.brands, codec.values(c.brand_weights), strict=True)),
        price=None if c.price is None else PriceAffinity(*codec.values(c.price)),
        behaviour=c.behaviour,
        recent_items=tuple(map(RecentItem, c.recent_items, c.recent_types, times, weights)),
        bought=c.bought,
        hidden=c.hidden,
        neighbours=tuple(zip(c.neighbours, codec.values(c.neighbour_cosines), strict=True)),
        neighbour_items=tuple(zip(c.neighbour_items, codec.values(c.neighbour_scores), strict=True)),
    )


def cold_portrait(user_id: str, now: float) -> Portrait:
    """The portrait of a user nothing is known of: a cold start, not an error."""
    return Portrait(user_id, now, None, 0, 0.0, Lifecycle.NEW.value)


def pack_vector(vector: NDArray[np.floating]) -> bytes:
    """A vector as little-endian float16 bytes."""
    return np.asarray(vector, "<f2").tobytes()


def unpack_vector(data: bytes | None) -> NDArray[np.float32] | None:
    """The float32 vector of `pack_vector`'s bytes, or None."""
    return None if data is None else np.frombuffer(data, "<f2").astype(np.float32)
