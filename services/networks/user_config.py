"""What a user model is made of: a frozen value, kept with its weights."""

from dataclasses import dataclass

import msgspec

from services.core.types import EventType

EVENT_TYPES: tuple[str, ...] = tuple(sorted(kind.value for kind in EventType))
"""Codes of event types are 1 + their place here; 0 is an unknown one."""

GAP_BUCKETS = 16
"""Buckets of a time span: 0 unknown, then powers of two of a minute up to about three weeks."""

POSITION_BUCKETS = 32
"""Distances between two events of a history are told apart up to this many steps."""

PRICE_BUCKETS = 16

ITEM_PARTS = ("content", "category", "brand", "price", "id")


@dataclass(frozen=True)
class UserModelConfig:
    """Shapes of the item tower and of the sequence encoder over it.

    `content` D: numbers in an item's content vector. `width` W: of every representation, the answer included.
    `items`, `categories`, `brands`: how many have an embedding of their own. `length`: events of history read.
    `temperature`: cosines are divided by it before the softmax.
    """

    content: int
    items: int
    categories: int
    brands: int
    width: int = 128
    blocks: int = 1
    heads: int = 1
    hidden: int = 2
    length: int = 50
    temperature: float = 0.05

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "UserModelConfig":
        return msgspec.json.decode(text, type=cls)
