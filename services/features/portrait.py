"""The portrait of a user as one packed value: what the hot path reads in a single round trip.

The packed form is what `services.features.portrait_codec` makes of the columns, behind a one-byte format version. The
forms before it are still read: columns deflated, and MessagePack of the struct. Item ids are stored as text,
so a portrait outlives any item snapshot.
"""

from collections.abc import Callable
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


_FORMAT = bytes((FORMAT,))
_whole = msgspec.msgpack.Decoder(Portrait)


def pack(portrait: Portrait) -> bytes:
    """The packed form of a portrait."""
    recent, interests, price = portrait.recent_items, portrait.interests, None
    if portrait.price is not None:
        typical, low, high = codec.units((portrait.price.typical, portrait.price.low, portrait.price.high))
        price = typical, low, high
    columns = codec.Columns(
        user_id=portrait.user_id,
        as_of=portrait.as_of,
        newest_event=portrait.newest_event,
        event_count=portrait.event_count,
        confidence=codec.units([portrait.confidence])[0],
        lifecycle=portrait.lifecycle,
        space=portrait.space,
        interest_items=[interest.item_id for interest in interests],
        interest_weights=codec.falling([interest.weight for interest in interests]),
        interest_names=[interest.name for interest in interests],
        interest_categories=[interest.categories for interest in interests],
        interest_brands=[interest.brands for interest in interests],
        categories=[name for name, _ in portrait.categories],
        category_weights=codec.falling([weight for _, weight in portrait.categories]),
        brands=[name for name, _ in portrait.brands],
        brand_weights=codec.falling([weight for _, weight in portrait.brands]),
        price=price,
        behaviour=codec.numbers_of(portrait.behaviour),
        recent_items=[item.item_id for item in recent],
        recent_types=[codec.TYPES.index(item.type) if item.type in codec.TYPES else item.type for item in recent],
        recent_ages=codec.ages(portrait.as_of, [item.timestamp for item in recent]),
        recent_weights=codec.units([item.weight for item in recent], codec.FINEST),
        bought=portrait.bought,
        hidden=portrait.hidden,
        neighbours=[user_id for user_id, _ in portrait.neighbours],
        neighbour_cosines=codec.falling([cosine for _, cosine in portrait.neighbours]),
        neighbour_items=[item_id for item_id, _ in portrait.neighbour_items],
        neighbour_scores=codec.falling([score for _, score in portrait.neighbour_items]),
    )
    vectors = codec.quantised(portrait.long_term), codec.quantised(portrait.short_term)
    return _FORMAT + codec.encode(columns, *vectors)


def packed_columns(columns: memoryview, long_term: bytes | memoryview, short_term: bytes | memoryview) -> bytes:
    """The packed form of a portrait whose columns are MessagePack and whose vectors are quantised already."""
    return _FORMAT + codec.encode_written(columns, long_term, short_term)


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
            return _of_columns(codec.fallen, *codec.decode(data))
        if packed[0] == DEFLATED:
            return _of_columns(codec.values, *codec.decode_deflated(data))
        return _whole.decode(data)
    except (
        msgspec.DecodeError,
        ValueError,  # text that is no UTF-8, columns of unequal length
        LookupError,  # a type that there is none of
        ArithmeticError,  # numbers beyond all bounds
    ) as error:
        raise CorruptArtefact("A stored portrait cannot be decoded: run `portrait profiles recompute`") from error


def _of_columns(
    weights: Callable[[list[codec.Number]], list[float]],
    c: codec.Columns,
    long_term: bytes | None,
    short_term: bytes | None,
) -> Portrait:
    """The portrait of its stored fields; `weights` brings lists of them back."""
    interests = zip(
        c.interest_items,
        weights(c.interest_weights),
        c.interest_names,
        c.interest_categories,
        c.interest_brands,
        strict=True,
    )
    recent = zip(
        c.recent_items,
        [codec.TYPES[type_] if isinstance(type_, int) else type_ for type_ in c.recent_types],
        codec.moments(c.as_of, c.recent_ages),
        codec.values(c.recent_weights, codec.FINEST),
        strict=True,
    )
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
        categories=tuple(zip(c.categories, weights(c.category_weights), strict=True)),
        brands=tuple(zip(c.brands, weights(c.brand_weights), strict=True)),
        price=None if c.price is None else PriceAffinity(*codec.values(c.price)),
        behaviour=codec.bytes_of(c.behaviour),
        recent_items=tuple(RecentItem(*row) for row in recent),
        bought=c.bought,
        hidden=c.hidden,
        neighbours=tuple(zip(c.neighbours, weights(c.neighbour_cosines), strict=True)),
        neighbour_items=tuple(zip(c.neighbour_items, weights(c.neighbour_scores), strict=True)),
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
