"""Served lists on their way to PostgreSQL: buffered for at most a second, bounded, and counted when lost."""

import threading
from collections import deque
from typing import NamedTuple

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.db.impressions import ServedList, insert_impressions
from services.db.served_requests import LoggedRequest, insert_served_requests, keep_portraits
from services.db.session import transaction

FLUSH_S = 0.5
MAX_LISTS = 20_000
MAX_BATCH = 2_000
MAX_LOGGED_BYTES = 64 << 20
"""What waits of how lists were ranked; beyond it lists are kept without."""
KNOWN_PORTRAITS = 50_000
"""Users whose last portrait is known to be in the offline store already."""

log = get_logger("impressions")


class _Waiting(NamedTuple):
    served: ServedList
    logged: LoggedRequest | None


class ImpressionWriter:
    """One thread that writes what requests hand over. A crash loses at most `FLUSH_S` of lists and those in flight."""

    def __init__(self, engine: Engine, metrics: ServingMetrics) -> None:
        self._engine, self._metrics = engine, metrics
        self._waiting: deque[_Waiting] = deque()
        self._taken_in = self._dropped = self._given_out = 0  # bytes; the last by the thread, the others by callers
        self._known: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
        self._thread.start()

    def add(self, served: ServedList, logged: LoggedRequest | None = None) -> None:
        """Hand over one list, and how it was ranked. When PostgreSQL has been away for long the oldest lists go, and
        are counted."""
        if len(self._waiting) >= MAX_LISTS:
            oldest = self._waiting.popleft()
            self._dropped += _size(oldest)
            self._lost([oldest])
        if logged is not None:
            if self._taken_in - self._dropped - self._given_out + logged.size > MAX_LOGGED_BYTES:
                self._metrics.logged_requests.labels("lost").inc()
                logged = None
            else:
                self._taken_in += logged.size
        self._waiting.append(_Waiting(served, logged))

    def close(self) -> None:
        """Write what is left and end."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._lost(list(self._waiting))

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            try:
                self._write(batch)
            except (DependencyDown, SQLAlchemyError, psycopg.OperationalError) as error:
                log.warning("impressions-wait", lists=len(batch), error=type(error).__name__)
                self._waiting.extendleft(reversed(batch))
                return
            except psycopg.Error as error:
                log.error("impressions-refused", lists=len(batch), error=str(error))
                self._lost(batch)
            self._given_out += sum(map(_size, batch))

    def _write(self, batch: list[_Waiting]) -> None:
        logged = [one.logged for one in batch if one.logged is not None]
        portraits = self._new_portraits(logged)
        with transaction(self._engine) as connection:
            written = insert_impressions(connection, [one.served for one in batch])
            keep_portraits(connection, [(user, at, packed) for (user, at), packed in portraits.items()])
            kept = insert_served_requests(connection, logged)
        self._metrics.impressions.labels("written").inc(written)
        self._metrics.logged_requests.labels("written").inc(kept)
        if len(self._known) > KNOWN_PORTRAITS:
            self._known.clear()
        self._known.update(portraits.keys())

    def _new_portraits(self, logged: list[LoggedRequest]) -> dict[tuple[str, float], bytes]:
        """The portraits that were read, each once, but those that were written lately: most users ask several times."""
        return {
            (one.user_id, one.portrait_at): one.packed
            for one in logged
            if one.packed is not None
            and one.portrait_at is not None
            and self._known.get(one.user_id) != one.portrait_at
        }

    def _lost(self, lists: list[_Waiting]) -> None:
        self._metrics.impressions.labels("lost").inc(sum(len(one.served.item_ids) for one in lists))
        self._metrics.logged_requests.labels("lost").inc(sum(one.logged is not None for one in lists))


def _size(waiting: _Waiting) -> int:
    return 0 if waiting.logged is None else waiting.logged.size
