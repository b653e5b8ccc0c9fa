"""Names of the rules as reports count them, written once."""

from enum import StrEnum


class Rule(StrEnum):
    """Rules that drop a row, then rules that change one."""

    MALFORMED = "malformed"
    IMPOSSIBLE = "impossible"
    ROBOT = "robot"
    DUPLICATE = "duplicate"

    TEXT_CLEANED = "text-cleaned"
    PRICE_PARSED = "price-parsed"
    PRICE_UNREADABLE = "price-unreadable"
    RATING_RESCALED = "rating-rescaled"
    TIME_CONVERTED = "time-converted"
    TIME_SYNTHETIC = "time-synthetic"


DROPPING = (Rule.MALFORMED, Rule.IMPOSSIBLE, Rule.ROBOT, Rule.DUPLICATE)
"""The rules after which a row is not stored."""
