"""What a recompute did, in one process or in many."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from services.profiles.drift import Drift

TOTAL = "total"


@dataclass
class RecomputeReport:
    """What a recompute did: `seconds` by step, `erased` portraits of users who refused or are gone; `drift` of the
    states that updates had kept; `store_failed`: the online store did, and the tail publishes what it did not take;
    `processes` that shared the work, whose seconds are added up."""

    users: int = 0
    events: int = 0
    erased: int = 0
    pruned: int = 0
    reference_version: int = 0
    processes: int = 1
    store_failed: bool = False
    drift: Drift = field(default_factory=Drift)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-serialisable object, seconds rounded to milliseconds and with their `total`."""
        seconds = {step: round(value, 3) for step, value in self.seconds.items()}
        return asdict(self) | {"seconds": seconds | {TOTAL: round(sum(self.seconds.values()), 3)}}

    def add(self, part: Mapping[str, Any]) -> None:
        """Add what another report, `as_dict`, says of users that this one does not count."""
        self.users += part["users"]
        self.events += part["events"]
        self.store_failed |= part["store_failed"]
        self.drift.merge(Drift(**part["drift"]))
        for step, seconds in part["seconds"].items():
            if step != TOTAL:
                self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the block's time to a step."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - started
