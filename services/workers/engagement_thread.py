"""The thread that keeps item engagement up to date, in a process of its own beside the tail of portraits.

One worker of all does it: whoever ticked last goes on, and the others look now and then whether it still does. After a
tick it rests for several times as long as the tick took, so that it takes a core's fifth at most.
"""

import threading
import time
from dataclasses import dataclass, replace

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from services.core.clock import Clock, utc_now
from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.profiles.engagement_report import TickReport
from services.profiles.engagement_tail import EngagementTail

log = get_logger("tail")

EXPECTED = (PortraitError, psycopg.Error, SQLAlchemyError)
"""Failures of a server: the same tick is tried again."""


@dataclass(frozen=True)
class EngagementPace:
    """Seconds, but `rest_per_tick`: how many times a tick's own duration it rests at least. `idle_rest`: after a tick
    that found nothing."""

    rest: float = 2.0
    idle_rest: float = 5.0
    rest_per_tick: float = 4.0
    longest_backoff: float = 30.0
    patience_at_the_end: float = 1.0


@dataclass(frozen=True)
class EngagementStatus:
    """Counts since the thread began. `at`: when it last found engagement up to date, on `time.monotonic`'s clock;
    `owns`: whether it was this thread that keeps it so."""

    owns: bool = False
    at: float = 0.0
    ticks: int = 0
    events: int = 0
    published: int = 0
    failures: int = 0
    tick_seconds: float = 0.0

    def fields(self) -> dict[str, float]:
        """What goes into the report, for the worker that keeps engagement; of others zeros."""
        return {
            "items_lag_seconds": round(time.monotonic() - self.at, 3) if self.owns else 0.0,
            "items_tick_seconds": self.tick_seconds if self.owns else 0.0,
            "items_ticks": self.ticks,
            "items_events": self.events,
            "items_published": self.published,
            "items_failures": self.failures,
        }


class EngagementThread:
    """Ticks from `start` to `stop`; while `paused` it leaves the events alone. Nothing that fails ends it."""

    def __init__(self, tail: EngagementTail, pace: EngagementPace | None = None, clock: Clock = utc_now) -> None:
        self._tail, self._pace, self._clock = tail, pace or EngagementPace(), clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="item-engagement", daemon=True)
        self._backoff = 0.0
        self.status = EngagementStatus(at=time.monotonic())
        self.paused = False

    def start(self) -> None:
        """Begin, once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon: a tick that does not end by itself is broken off, and done again by whoever ticks next."""
        self._stop.set()
        if not self._thread.ident:
            return
        self._thread.join(self._pace.patience_at_the_end / 2)
        if self._thread.is_alive():
            self._tail.interrupt()
            self._thread.join(self._pace.patience_at_the_end / 2)
        if self._thread.is_alive():
            log.warning("engagement-still-at-it")  # it ends with the process, and its transaction with it

    def _run(self) -> None:
        log.info("engagement-began")
        while not self._stop.is_set():
            self._stop.wait(self._pace.rest if self.paused else self._turn())
        self._tail.release()
        log.info("engagement-ended")

    def _turn(self) -> float:
        """One tick; for how long to rest."""
        started = time.monotonic()
        try:
            report = self._tail.tick(self._clock(), if_free=True)
        except EXPECTED as error:
            if self._stop.is_set():
                return 0.0
            log.warning("engagement-tick-failed", error=str(error).split("\n", 1)[0], kind=type(error).__name__)
            return self._failed()
        except Exception:
            log.exception("engagement-tick-failed")
            return self._failed()
        self._backoff = 0.0
        self._count(report)
        rest = self._pace.rest if report.worked or report.busy else self._pace.idle_rest
        return max(rest, self._pace.rest_per_tick * (time.monotonic() - started))

    def _count(self, report: TickReport) -> None:
        was = self.status
        if report.busy:
            self.status = replace(was, owns=False, at=time.monotonic())
            return
        self.status = EngagementStatus(
            owns=True,
            at=time.monotonic(),
            ticks=was.ticks + 1,
            events=was.events + report.entered,
            published=was.published + report.published,
            failures=was.failures,
            tick_seconds=report.seconds,
        )
        if report.entered or report.rebuilt:
            log.debug("engagement-ticked", events=report.entered, rebuilt=report.rebuilt, items=report.published)

    def _failed(self) -> float:
        self.status = replace(self.status, owns=True, failures=self.status.failures + 1)
        self._backoff = min(self._pace.longest_backoff, 2 * self._backoff or self._pace.rest)
        return self._backoff
