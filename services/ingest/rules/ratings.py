"""Ratings onto the scale of 1 to 5. Centring on a user's own mean happens in the profiles, where the mean is known."""

from dataclasses import dataclass

import polars as pl

from services.core.errors import InvalidInput
from services.ingest.rules.limits import RATING_MAX, RATING_MIN


@dataclass(frozen=True)
class RatingScale:
    """The lowest and highest rating that a source can give."""

    low: float = RATING_MIN
    high: float = RATING_MAX

    @classmethod
    def parse(cls, text: str) -> "RatingScale":
        """From "0.5-5" or "1-10". Raises InvalidInput."""
        low, dash, high = text.partition("-")
        try:
            scale = cls(float(low), float(high))
        except ValueError:
            scale = cls(0, 0)
        if not dash or not scale.low < scale.high:
            raise InvalidInput(f"rating scale {text!r} is not LOW-HIGH: write it as 0.5-5 or 1-10")
        return scale

    @property
    def canonical(self) -> bool:
        return (self.low, self.high) == (RATING_MIN, RATING_MAX)

    def rescale(self, rating: pl.Expr) -> pl.Expr:
        """Linear: `low` becomes 1, `high` becomes 5; what lies outside stays outside."""
        return (rating - self.low) * ((RATING_MAX - RATING_MIN) / (self.high - self.low)) + RATING_MIN
