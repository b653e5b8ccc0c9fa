"""Portraits from the online store; without it the users are strangers, not errors."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from feature_repo import names
from services.core.errors import CorruptArtefact, DependencyDown
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.core.valkey import FAILED
from services.features.freshness import EXPIRED, UNAVAILABLE, FeatureStatus, without_passed_windows
from services.features.portrait import Portrait, cold_portrait
from services.serve.live import Live

RETRY_S = 0.5
RETRY_FACTOR = 4.0
FAILURES = (*FAILED, OSError, DependencyDown)
NOT_READ = FeatureStatus(None, UNAVAILABLE)

T = TypeVar("T")

log = get_logger("gateway")


class Stored(Protocol):
    """What the store has of a user; see `services.features.online.reader.StoredPortrait`."""

    @property
    def portrait(self) -> Portrait | None: ...

    @property
    def status(self) -> FeatureStatus: ...

    @property
    def packed(self) -> bytes | None: ...


class PortraitStore(Protocol):
    """The part of `services.features.online.reader.OnlineReader` that the gateway needs."""

    def stored(self, user_id: str) -> Stored: ...

    def feature_status(self, user_id: str) -> dict[str, FeatureStatus]: ...


@dataclass(frozen=True)
class Reading:
    """A portrait, whether it may stand in for one that could not be read, and the status of what was read.

    `packed`: what was read, as it is stored; None for a stranger.
    """

    portrait: Portrait
    degraded: bool
    status: FeatureStatus
    packed: bytes | None = None

    @property
    def features(self) -> dict[str, FeatureStatus]:
        """The statuses as answers carry them."""
        return {names.USER_SERVING: self.status}

    def age_ms(self, now: float) -> int | None:
        """Milliseconds since the newest event in the portrait; None without one."""
        newest = self.portrait.newest_event
        return None if newest is None else max(0, round((now - newest) * 1000))


class Portraits:
    """Reads portraits on the caller's thread (0.2 ms).

    After a failure the store is left alone for half a second, or four times as long as the failure took: a store that
    hangs holds up a fifth of the time at most. What is older than its TTL is replaced by its declared default.
    """

    def __init__(
        self, store: PortraitStore, metrics: ServingMetrics | None = None, live: Callable[[], Live] = Live
    ) -> None:
        self._store, self._live = store, live
        self._metrics = ServingMetrics() if metrics is None else metrics
        self._retry_at = 0.0

    @property
    def available(self) -> bool:
        """Whether the last read worked, or enough time has passed to try again."""
        return time.monotonic() >= self._retry_at

    def read(self, user_id: str, now: float) -> Reading:
        """The user's portrait; a cold one for an unknown user, and a degraded cold one without the store."""
        reading = self._read(user_id, now)
        if reading.degraded:
            self._metrics.degraded.inc()
        return reading

    def show(self, user_id: str, now: float) -> Reading:
        """As `read`, for answers that are the portrait: without the store there is none.

        Raises:
            DependencyDown: the online store does not answer, or did not a moment ago.
        """
        reading = self._asked(lambda: self._taken(user_id, now))
        if reading.degraded:
            self._metrics.degraded.inc()
        return reading

    def feature_status(self, user_id: str) -> dict[str, FeatureStatus]:
        """By name the state of each view of users. Raises as `show` does."""
        return self._asked(lambda: self._store.feature_status(user_id))

    def _read(self, user_id: str, now: float) -> Reading:
        try:
            return self._asked(lambda: self._taken(user_id, now))
        except DependencyDown:
            pass
        except CorruptArtefact as error:
            log.warning("portrait-unreadable", detail=error.detail)
        return Reading(cold_portrait(user_id, now), True, NOT_READ)

    def _asked(self, ask: Callable[[], T]) -> T:
        """What the store answers. Raises DependencyDown where it does not, and while it is left alone."""
        if not self.available:
            raise self._down()
        start = time.monotonic()
        try:
            return ask()
        except FAILURES as error:
            failed = time.monotonic()
            self._retry_at = failed + max(RETRY_S, RETRY_FACTOR * (failed - start))
            log.warning("online-store-down", error=type(error).__name__)
            raise self._down() from error

    def _down(self) -> DependencyDown:
        seconds = max(1, math.ceil(self._retry_at - time.monotonic()))
        return DependencyDown("The online store does not answer: see `portrait doctor`", retry_after=seconds)

    def _taken(self, user_id: str, now: float) -> Reading:
        found = self._store.stored(user_id)
        if found.status.status == EXPIRED:
            self._metrics.expired.labels(names.USER_SERVING).inc()
        if found.portrait is None:
            return Reading(cold_portrait(user_id, now), self._live().degraded, found.status)
        portrait, replaced = without_passed_windows(found.portrait, now)
        if replaced:
            self._metrics.expired.labels(names.USER_BEHAVIOUR).inc(replaced)
        return Reading(portrait, self._live().degraded, found.status, found.packed)
