"""How live the portraits are, looked at once a second by a thread of its own and never by a request."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.core.errors import DependencyDown
from services.core.live_keys import PARTITIONS, READY, REBUILDING
from services.core.logging import get_logger
from services.features.online.live_status import LiveReading, TailReading

POLL_S = 1.0
REPORT_EVERY_S, SILENT_S = 1.0, 3.0
"""How old the last report of a tail that works is at most, and that of one whose partitions others have taken."""

log = get_logger("gateway")


class StoreStatus(StrEnum):
    """Of the portraits in the online store."""

    OK = "ok"
    UNKNOWN = "unknown"
    """No tail has said anything since this process began."""
    REBUILDING = "rebuilding"
    EMPTIED = "emptied"
    """It said something before, and nothing now."""
    UNREACHABLE = "unreachable"


DEGRADED = frozenset({StoreStatus.REBUILDING, StoreStatus.EMPTIED, StoreStatus.UNREACHABLE})


@dataclass(frozen=True)
class Live:
    """`lag_s`: how old events may be that no portrait holds yet. Infinite while that cannot be known."""

    status: StoreStatus = StoreStatus.UNKNOWN
    lag_s: float = float("inf")
    tails: tuple[TailReading, ...] = ()
    items: tuple[TailReading, ...] = ()

    @property
    def degraded(self) -> bool:
        """Whether portraits may be missing from the store."""
        return self.status in DEGRADED


class LiveStore(Protocol):
    """The part of `services.features.online.live_status.LiveStatus` that is needed here."""

    def read(self) -> LiveReading: ...


class LiveWatch:
    """Keeps `now`, the latest known state; reading it costs nothing."""

    def __init__(self, store: LiveStore, clock: Callable[[], float] = time.time) -> None:
        self.now = Live()
        self._store, self._clock = store, clock
        self._seen = False
        self._covered_at: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Look once, then go on."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def look(self) -> None:
        """Bring `now` up to date."""
        at = self._clock()
        try:
            reading = self._store.read()
        except DependencyDown:
            found = Live(StoreStatus.UNREACHABLE, self._lag_s((), at))
        else:
            found = Live(self._status(reading), self._lag_s(reading.tails, at), reading.tails, reading.items)
        if found.status is not self.now.status:
            log.warning("portraits-online", status=found.status.value, before=self.now.status.value)
        self.now = found

    def _status(self, reading: LiveReading) -> StoreStatus:
        if reading.online is None:
            return StoreStatus.EMPTIED if self._seen else StoreStatus.UNKNOWN
        self._seen = True
        return {READY: StoreStatus.OK, REBUILDING: StoreStatus.REBUILDING}.get(reading.online, StoreStatus.UNKNOWN)

    def _lag_s(self, tails: tuple[TailReading, ...], at: float) -> float:
        """The worst of what tails report, what passed since, and for how long not everybody was tailed. A tail that is
        silent counts for nothing once others own all partitions."""
        heard = [tail for tail in tails if abs(at - tail.numbers.get("updated_at", 0.0)) <= SILENT_S]
        if sum(tail.numbers.get("partitions", 0) for tail in heard) >= PARTITIONS:
            self._covered_at = at
            return max(_tail_lag_s(tail, at) for tail in heard)
        known = self._covered_at is not None and self._covered_at <= at  # else the clock was set back since
        uncovered = at - self._covered_at if known else float("inf")
        return max([uncovered, *(_tail_lag_s(tail, at) for tail in tails)])

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self.look()
            except Exception:  # a report that cannot be read must not end the watch: the lag then grows by itself
                log.exception("live-watch-failed")
                self.now = Live(self.now.status, self._lag_s((), self._clock()), self.now.tails, self.now.items)


def _tail_lag_s(tail: TailReading, at: float) -> float:
    """What the tail said, and what has passed since it should have said something again."""
    silent = at - tail.numbers.get("updated_at", 0.0) - REPORT_EVERY_S
    return tail.numbers.get("lag_seconds", 0.0) + max(silent, 0.0)
