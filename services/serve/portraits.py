"""Portraits from the online store; without it the users are strangers, not errors."""

import time
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from services.core.errors import CorruptArtefact, DependencyDown
from services.core.logging import get_logger
from services.features.portrait import Portrait, cold_portrait

RETRY_S = 0.5
RETRY_FACTOR = 4.0
FAILURES = (RedisError, OSError, DependencyDown)

log = get_logger("gateway")


class PortraitStore(Protocol):
    """The part of `services.features.online.reader.OnlineReader` that the gateway needs."""

    def portrait(self, user_id: str) -> Portrait | None: ...


@dataclass(frozen=True)
class Reading:
    """A portrait, and whether it stands in for one that could not be read."""

    portrait: Portrait
    degraded: bool


class Portraits:
    """Reads portraits on the caller's thread (0.2 ms).

    After a failure the store is left alone for half a second, or four times as long as the failure took: a store that
    hangs holds up a fifth of the time at most.
    """

    def __init__(self, store: PortraitStore) -> None:
        self._store = store
        self._retry_at = 0.0

    @property
    def available(self) -> bool:
        """Whether the last read worked, or enough time has passed to try again."""
        return time.monotonic() >= self._retry_at

    def read(self, user_id: str, now: float) -> Reading:
        """The user's portrait; a cold one for an unknown user, and a degraded cold one without the store."""
        if not self.available:
            return Reading(cold_portrait(user_id, now), degraded=True)
        start = time.monotonic()
        try:
            found = self._store.portrait(user_id)
        except FAILURES as error:
            failed = time.monotonic()
            self._retry_at = failed + max(RETRY_S, RETRY_FACTOR * (failed - start))
            log.warning("online-store-down", error=type(error).__name__)
            return Reading(cold_portrait(user_id, now), degraded=True)
        except CorruptArtefact as error:
            log.warning("portrait-unreadable", detail=error.detail)
            return Reading(cold_portrait(user_id, now), degraded=True)
        return Reading(found if found is not None else cold_portrait(user_id, now), degraded=False)
