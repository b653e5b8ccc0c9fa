"""Time as a value that is passed in, so that no computation depends on the machine's clock by itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current time, timezone-aware in UTC."""
    return datetime.now(UTC)


def forward_clock(wall: Clock = utc_now, steady: Callable[[], float] = time.monotonic) -> Clock:
    """A clock that follows `wall` when it jumps ahead and goes on from where it was when `wall` jumps back.

    For judging whether a timestamp lies in the future: a machine whose clock is set back by an hour must not refuse
    the events of shops whose clocks are right. After such a jump the limit is lax by that hour until the process
    starts anew; nothing that was acceptable before is ever refused. `steady` counts seconds and never goes back.
    """
    start = wall() - timedelta(seconds=steady())  # when `steady` was zero, by the furthest clock seen

    def now() -> datetime:
        nonlocal start
        elapsed = timedelta(seconds=steady())
        start = max(start, wall() - elapsed)
        return start + elapsed

    return now
