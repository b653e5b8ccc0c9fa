"""What a simulated shop is made from: its size, its window of time and its seed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite

from services.core.errors import InvalidInput

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds_of(moment: datetime) -> int:
    """Microseconds since the epoch; raises InvalidInput for a moment without time zone."""
    if moment.tzinfo is None:
        raise InvalidInput(f"{moment} has no time zone: pass a datetime in UTC")
    return (moment - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class ShopConfig:
    """The same config gives byte-identical output on the same machine, whatever the hash seed or batch sizes.

    `end` is when the last event may happen; `days` is how far back the events reach. `position_bias` is η of the
    examination propensity `1 / (1 + position)^η`, and `page_size` the longest page of products shown.
    """

    end: datetime
    users: int = 1_000
    items: int = 2_000
    days: int = 90
    seed: int = 1
    events_per_user: float = 100.0
    page_size: int = 8
    position_bias: float = 0.7

    def __post_init__(self) -> None:
        microseconds_of(self.end)
        for name, low, high in (("users", 1, 9_999_999), ("items", 1, 9_999_999), ("days", 1, 3_650)):
            if not low <= getattr(self, name) <= high:
                raise InvalidInput(f"{name} is {getattr(self, name)}: choose between {low:,} and {high:,}")
        if self.seed < 0:
            raise InvalidInput(f"seed is {self.seed}: choose a whole number from 0")
        if not 1 <= self.page_size <= 50:
            raise InvalidInput(f"page_size is {self.page_size}: choose between 1 and 50")
        for name in ("events_per_user", "position_bias"):
            value = getattr(self, name)
            if not isfinite(value) or value < 0:
                raise InvalidInput(f"{name} is {value}: choose a finite number from 0")

    @property
    def end_us(self) -> int:
        """The end in microseconds since the epoch."""
        return microseconds_of(self.end)

    @property
    def begin_us(self) -> int:
        """The earliest visit in microseconds since the epoch."""
        return self.end_us - self.days * DAY
