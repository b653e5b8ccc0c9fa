"""What a ranker is made of: a frozen value, kept with its weights."""

from dataclasses import dataclass

import msgspec

TASKS = ("click", "cart", "purchase")
"""What a ranker foretells of an item that is shown: three outputs, in this order."""


@dataclass(frozen=True)
class RankerConfig:
    """`features`: names of the inputs, in order. `hidden`: widths of the two dense layers. `value`: what each of
    `TASKS` is worth; `trained`: which of them there were examples of."""

    features: tuple[str, ...]
    hidden: tuple[int, int] = (64, 32)
    value: tuple[float, float, float] = (1.0, 4.0, 16.0)
    trained: tuple[str, ...] = TASKS

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "RankerConfig":
        return msgspec.json.decode(text, type=cls)
