"""What a tail measures of itself, as `portrait status` and the gateway's metrics show it."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds of the histogram from an event's arrival to its portrait."""


@dataclass
class TailReport:
    """Counts since the tail began. `lag_events` and `lag_seconds`: events seen and not in a portrait yet, and how long
    the oldest has waited; users who are to be rebuilt for another reason are `pending_rebuild`."""

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
    lag_seconds: float = 0.0
    pending_rebuild: int = 0
    pending_publish: int = 0
    freshness: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    freshness_sum: float = 0.0

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
        numbers = {name: value for name, value in self.__dict__.items() if name not in ("freshness", "freshness_sum")}
        return {
            **{name: round(value, 6) if isinstance(value, float) else value for name, value in numbers.items()},
            "partitions": partitions,
            "updated_at": round(now, 3),
            "event_to_portrait": json.dumps(histogram),
        }
