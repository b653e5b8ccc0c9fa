"""The readable views of a user, as a packed portrait says them: what the offline tables hold, feature by feature.

The online store keeps the portrait alone and reads these views out of it: no byte is stored twice, and `feast` users
see what serving sees.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from feature_repo import names
from services.features.portrait import Portrait

VIEWS = (names.USER_PROFILE, names.USER_AFFINITIES, names.USER_BEHAVIOUR)


def view_values(portrait: Portrait, view: str) -> dict[str, Any]:
    """The features of one of `VIEWS`; None where undefined. Times are epoch seconds, structured values JSON text."""
    if view == names.USER_PROFILE:
        return {
            "confidence": portrait.confidence,
            "lifecycle": portrait.lifecycle,
            "event_count": portrait.event_count,
            "newest_event": portrait.newest_event,
            "interests": as_json(portrait.interests),
            "recent_items": as_json(portrait.recent_items),
        }
    if view == names.USER_AFFINITIES:
        price = portrait.price
        return {
            "categories": as_json(portrait.categories),
            "brands": as_json(portrait.brands),
            **{f"price_{part}": None if price is None else getattr(price, part) for part in ("typical", "low", "high")},
        }
    behaviour = portrait.behaviour_values().tolist()
    return {
        name: None if value != value else value for name, value in zip(names.BEHAVIOUR_FEATURES, behaviour, strict=True)
    }


def as_json(value: Sequence[Any]) -> str:
    """A JSON array: of objects with named fields for structs, of [name, weight] for pairs."""
    return orjson.dumps(value, default=msgspec.structs.asdict).decode()
