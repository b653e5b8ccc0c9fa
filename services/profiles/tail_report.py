"""What a tail measures of itself, as `portrait status` and the gateway's metrics show it."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.db.pending import Backlog

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds of the histogram from an event's arrival to its portrait."""


@dataclass
class TailReport:
    """Counts since the tail began. `lag_events`: events seen and not in a portrait yet, the oldest of them received at
    `waiting_since`. `pending_rebuild`: users in the queue, the first since `queued_since`; their portraits lack events
    only if some were too many for a tick (`overflowed`; not known of a queue found at the start)."""

    ticks: int = 0
    events: int = 0
    users: int = 0
    rebuilt: int = 0
    published: int = 0
    publish_failures: int = 0
    quarantined: int = 0
    failures: int = 0
    tick_seconds: float = 0.0
    lag_events: int = 0
    waiting_since: datetime | None = None
    queued_since: datetime | None = None
    overflowed: bool = True
    pending_rebuild: int = 0
    pending_publish: int = 0
    freshness: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    freshness_sum: float = 0.0

    def behind(self, received: pa.ChunkedArray) -> None:
        """There are new events, received at these times."""
        self.lag_events, self.waiting_since = len(received), pc.min(received).as_py()

    def caught_up(self) -> None:
        """All events seen are in portraits, or their users in the queue."""
        self.lag_events, self.waiting_since = 0, None

    def queue(self, waiting: Backlog) -> None:
        """What waits in the queue."""
        self.pending_rebuild, self.pending_publish = waiting.rebuild, waiting.publish
        self.queued_since = waiting.oldest
        self.overflowed &= waiting.rebuild > 0

    def lag_seconds(self, now: float) -> float:
        """For how long the oldest event has waited that is in no portrait."""
        queued = self.queued_since if self.overflowed else None
        since = [moment.timestamp() for moment in (self.waiting_since, queued) if moment is not None]
        return max(0.0, now - min(since)) if since else 0.0

    def saw(self, seconds: NDArray[np.float64]) -> None:
        """Count how long events took from arrival to portrait."""
        places = np.bincount(np.searchsorted(BUCKETS, seconds), minlength=len(BUCKETS) + 1)
        self.freshness = [had + int(more) for had, more in zip(self.freshness, places, strict=True)]
        self.freshness_sum += float(seconds.sum())
        self.events += len(seconds)

    def fields(self, now: float, partitions: int) -> dict[str, Any]:
        """The fields of the hash `portrait:tail:{owner}`.

        `event_to_portrait` is JSON: the upper bounds `buckets` in seconds, `counts` by bucket (one more, for what took
        longer; not cumulative), `sum` in seconds and `count`.
        """
        histogram = {
            "buckets": BUCKETS,
            "counts": self.freshness,
            "sum": round(self.freshness_sum, 6),
            "count": sum(self.freshness),
        }
        numbers = {name: value for name, value in self.__dict__.items() if isinstance(value, int | float)}
        return {
            **{name: round(value, 6) for name, value in numbers.items()},
            "lag_seconds": round(self.lag_seconds(now), 3),
            "partitions": partitions,
            "updated_at": round(now, 3),
            "event_to_portrait": json.dumps(histogram),
        }
