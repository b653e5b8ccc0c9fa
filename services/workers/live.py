"""The process that tails: takes leases, waits for commits, ticks, watches the online store, reports.

This module imports Feast: the worker's parent does so once (`--include`), and a child that is started again is quick.
"""

import gc
import os
import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import OperationalError

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.memory import give_back
from services.db.event_store import CHANNEL
from services.db.leases import LeaseLost, release, share_out
from services.db.pending import backlog
from services.db.session import make_engine, planner_for_the_tail, transaction
from services.db.tail_log import retry_quarantined
from services.features.online import OnlineWriter, open_store
from services.features.online.marks import OnlineMarks
from services.profiles.online_marks import MarkKeeper
from services.profiles.tail import Tail

log = get_logger("tail")


@dataclass(frozen=True)
class LiveConfig:
    """Seconds, but the minutes after which a quarantined user is tried again."""

    lease: float = 3.0
    pulse: float = 1.0
    rest: float = 0.002
    most_rest: float = 0.003
    longest_backoff: float = 2.0
    quarantine_minutes: float = 10.0
    report_kept: int = 15
    give_back: float = 30.0


class LiveTail:
    """One tail with all that it needs. `turn` once, `run` until told to stop; while `paused` it keeps its leases and
    leaves the events alone."""

    def __init__(self, addresses: Addresses, config: LiveConfig | None = None) -> None:
        self.config = config or LiveConfig()
        self.owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._database_url = addresses.database_url
        self.engine = planner_for_the_tail(make_engine(addresses.sqlalchemy_url, pool_size=3))
        self.marks = OnlineMarks(addresses)
        self.keeper = MarkKeeper(self.engine, self.marks)
        self.tail = Tail(self.engine, OnlineWriter(addresses, open_store(addresses)), self.owner)
        self.paused = False
        self._listener: psycopg.Connection | None = None
        self._next_pulse = 0.0
        self._next_retry = 0.0
        self._next_give_back = 0.0
        self._backoff = 0.0
        self._written = True

    def run(self, stop: Callable[[], bool], each_pulse: Callable[[], None] | None = None) -> None:
        """Tail until `stop()`, then give the leases back. Whatever fails is tried again, ever more slowly."""
        log.info("tail-began", owner=self.owner)
        self.tail.catalogue.load()
        gc.collect()
        gc.freeze()
        try:
            while not stop():
                if self.turn() and each_pulse is not None:
                    each_pulse()
        finally:
            self.close()

    def turn(self) -> bool:
        """One step, and a wait if it found nothing. Whether a pulse was due and done."""
        try:
            pulsed = self._pulse_if_due()
            started = time.monotonic()
            worked = not self.paused and self.tail.step()
            self._written |= worked
            self._rest(worked, time.monotonic() - started)
            self._backoff = 0.0
        except LeaseLost:
            log.warning("tail-lease-lost", owner=self.owner)
            self._next_pulse = 0.0
            return False
        except (DependencyDown, OperationalError, psycopg.Error) as error:
            self._failed(error)
            return False
        return pulsed

    def close(self) -> None:
        """Give the leases back and close all connections."""
        self.tail.catalogue.wait()
        try:
            with transaction(self.engine) as connection:
                release(connection, self.owner)
            self.marks.withdraw(self.owner)
        except (DependencyDown, OperationalError) as error:
            log.warning("tail-not-released", error=str(error))  # the lease expires
        self._forget_listener()
        self.engine.dispose()
        log.info("tail-ended", owner=self.owner)

    def _pulse_if_due(self) -> bool:
        now = time.monotonic()
        if now < self._next_pulse:
            return False
        if now >= self._next_give_back:
            give_back()
            self._next_give_back = now + self.config.give_back
        tail = self.tail
        with transaction(self.engine) as connection:
            tail.own(share_out(connection, self.owner, self.config.lease))
            if now >= self._next_retry:
                retry_quarantined(
                    connection, tail.partitions, self.config.quarantine_minutes if self._next_retry else 0
                )
                self._next_retry = now + 60.0
            tail.report.queue(backlog(connection, tail.partitions))
        self._next_pulse = now + self.config.pulse
        tail.maker.store_down = not self.keeper.check(tail.partitions, written=self._written)
        self._written = tail.maker.store_down
        if not tail.maker.store_down:
            self.marks.report(
                self.owner, tail.report.fields(time.time(), len(tail.partitions)), self.config.report_kept
            )
        return True

    def _rest(self, worked: bool, seconds: float) -> None:
        """After work a short rest, in which more events come together; without work, until the next commit."""
        if worked:
            time.sleep(min(max(self.config.rest, seconds / 2), self.config.most_rest))
            return
        if self._listener is None:
            self._listener = psycopg.connect(self._database_url, autocommit=True, connect_timeout=5)
            self._listener.execute(f"LISTEN {CHANNEL}")
            return  # what was committed before it listened is found by a look
        wait = max(0.0, self._next_pulse - time.monotonic())
        for _ in self._listener.notifies(timeout=wait, stop_after=1):
            pass
        for _ in self._listener.notifies(timeout=0):
            pass

    def _failed(self, error: Exception) -> None:
        self.tail.report.failures += 1
        self._backoff = min(self.config.longest_backoff, 2 * self._backoff or 0.1)
        log.warning("tail-step-failed", error=str(error).split("\n", 1)[0], kind=type(error).__name__)
        self._forget_listener()
        self._next_pulse = 0.0
        time.sleep(self._backoff)

    def _forget_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
