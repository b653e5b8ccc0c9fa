"""Served lists on their way to PostgreSQL: buffered for at most a second, bounded, and counted when lost."""

import threading
from collections import deque

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.db.impressions import ServedList, insert_impressions
from services.db.session import transaction

FLUSH_S = 0.5
MAX_LISTS = 20_000
MAX_BATCH = 2_000

log = get_logger("impressions")


class ImpressionWriter:
    """One thread that writes what requests hand over. A crash loses at most `FLUSH_S` of lists and those in flight."""

    def __init__(self, engine: Engine, metrics: ServingMetrics) -> None:
        self._engine, self._metrics = engine, metrics
        self._waiting: deque[ServedList] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)
        self._thread.start()

    def add(self, served: ServedList) -> None:
        """Hand over one list. When PostgreSQL has been away for long the oldest lists go, and are counted."""
        if len(self._waiting) >= MAX_LISTS:
            self._lost([self._waiting.popleft()])
        self._waiting.append(served)

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
                with transaction(self._engine) as connection:
                    written = insert_impressions(connection, batch)
            except (DependencyDown, SQLAlchemyError, psycopg.OperationalError) as error:
                log.warning("impressions-wait", lists=len(batch), error=type(error).__name__)
                self._waiting.extendleft(reversed(batch))
                return
            except psycopg.Error as error:
                log.error("impressions-refused", lists=len(batch), error=str(error))
                self._lost(batch)
                continue
            self._metrics.impressions.labels("written").inc(written)

    def _lost(self, lists: list[ServedList]) -> None:
        self._metrics.impressions.labels("lost").inc(sum(len(served.item_ids) for served in lists))
