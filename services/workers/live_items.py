"""The process that keeps item engagement up to date: beside the one that tails, so that portraits never wait for the
catalogue, and nicer, so that on few cores they come first.

This module imports Feast: the worker's parent does so once (`--include`), and a child that is started again is quick.
"""

import itertools
import os
import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.memory import give_back
from services.db.session import make_engine
from services.features.online import OnlineWriter, open_store
from services.features.online.marks import OnlineMarks
from services.profiles.engagement_tail import EngagementTail
from services.workers.engagement_thread import EngagementPace, EngagementThread

log = get_logger("tail")

NICENESS = 5
ONLINE_ROWS = 2_000
"""Items a tick; the rest goes online with the next ones."""
SHOP_REST = timedelta(seconds=30)


@dataclass(frozen=True)
class ItemsConfig:
    """`pulse`: seconds between two reports; `report_kept`: seconds after which an old one is gone; `give_back`: reports
    between two times that freed memory is returned."""

    pulse: float = 2.0
    report_kept: int = 15
    give_back: int = 15
    pace: EngagementPace = field(default_factory=EngagementPace)


class LiveItems:
    """Item engagement of the whole shop, kept by one of however many workers there are: the others look on."""

    def __init__(self, addresses: Addresses, config: ItemsConfig | None = None) -> None:
        self.config = config or ItemsConfig()
        self.owner = f"items-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._engine = make_engine(addresses.sqlalchemy_url, pool_size=1)
        self._marks = OnlineMarks(addresses)
        self.tail = EngagementTail(
            self._engine,
            OnlineWriter(addresses, open_store(addresses)),
            owner=self.owner,
            online_rows=ONLINE_ROWS,
            shop_rest=SHOP_REST,
        )
        self.thread = EngagementThread(self.tail, self.config.pace)

    @property
    def paused(self) -> bool:
        """Whether events are left alone."""
        return self.thread.paused

    @paused.setter
    def paused(self, value: bool) -> None:
        self.thread.paused = value

    def run(self, stop: Callable[[], bool], each_pulse: Callable[[], None] | None = None) -> None:
        """Keep engagement until `stop()`. Whatever fails is tried again."""
        os.nice(NICENESS)  # of this thread, and of all it starts
        self.thread.start()
        try:
            for pulses in itertools.count():
                if stop():
                    break
                if each_pulse is not None:
                    each_pulse()
                self.report()
                if pulses % self.config.give_back == 0:
                    give_back()
                time.sleep(self.config.pulse)
        finally:
            self.close()

    def report(self) -> None:
        """Say in the online store how things stand, if it answers."""
        fields = {"updated_at": round(time.time(), 3), **self.thread.status.fields()}
        try:
            self._marks.report(self.owner, fields, self.config.report_kept)
        except DependencyDown as error:
            log.info("engagement-not-reported", error=str(error))

    def close(self) -> None:
        """End the thread, leave the place to another worker and close all connections."""
        self.thread.stop()
        try:
            self._marks.withdraw(self.owner)
        except DependencyDown as error:
            log.info("engagement-not-withdrawn", error=str(error))  # the report expires
        self._engine.dispose()
