"""Keeping a started stack up: what ends is started again with growing delays, what keeps ending
counts as failed and is tried now and then."""

import time
from collections.abc import Callable
from pathlib import Path

from services.core.logging import get_logger
from services.runtime.child import Child
from services.runtime.errors import StartFailed, tail
from services.runtime.parts import Part
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.processes import alive
from services.runtime.record import Record
from services.runtime.restarts import FAILED_DELAY_S, Restarts
from services.runtime.state import PartState, PartStatus, Phase
from services.runtime.valkey import EmbeddedValkey

Server = EmbeddedPostgres | EmbeddedValkey

log = get_logger("supervisor")


class Watch:
    """One look at every server and service per `look`."""

    def __init__(
        self,
        record: Record,
        servers: list[Server],
        children: dict[str, Child],
        start_server: Callable[[Server], None],
        launch: Callable[[Part], None],
    ) -> None:
        self._record = record
        self._servers = servers
        self._children = children
        self._start_server = start_server
        self._launch = launch
        self._accounts: dict[str, Restarts] = {}

    def look(self) -> None:
        """Notice what became ready or ended since the last look, and do the restarts that are due."""
        for server in self._servers:
            self._look_at_server(server)
        for child in list(self._children.values()):
            self._look_at_child(child)
        self._settle_phase()

    def _look_at_server(self, server: Server) -> None:
        part = self._record.of(server.name)
        if part.identity is not None and alive(part.identity):
            return
        account = self._account(part)
        if account.due is None:
            self._plan(part, time.time() - (part.started_at or time.time()), "the server ended")
        elif self._due(account, part):
            try:
                self._start_server(server)
            except StartFailed as error:
                self._plan(part, 0.0, error.detail)

    def _look_at_child(self, child: Child) -> None:
        part = self._record.of(child.part.name)
        status = child.exit_status
        if status is None:
            if part.status is PartStatus.STARTING and child.ready():
                self._record.ready(part, child.ran_s)
            return
        account = self._account(part)
        if account.due is None:
            child.sweep()
            worked_s = 0.0 if part.seconds is None else child.ran_s - part.seconds
            self._plan(part, worked_s, f"it ended with status {status}")
        elif self._due(account, part):
            self._launch(child.part)

    def _account(self, part: PartState) -> Restarts:
        return self._accounts.setdefault(part.name, Restarts())

    def _due(self, account: Restarts, part: PartState) -> bool:
        if account.due is None or time.monotonic() < account.due:
            return False
        account.started()
        part.restarts = account.total
        return True

    def _plan(self, part: PartState, worked_s: float, reason: str) -> None:
        account = self._account(part)
        account.ended(worked_s, time.monotonic())
        if account.failed:
            log.error("part failed", part=part.name, reason=reason, again_in_s=FAILED_DELAY_S)
            end = tail(Path(part.log))
            self._record.failed(part, f"{reason}, {account.quick} times in a row. The end of {part.log}:\n{end}")
        else:
            log.warning("part ended", part=part.name, reason=reason)
            self._record.restarting(part, reason)

    def _settle_phase(self) -> None:
        statuses = {part.status for part in self._record.state.parts}
        if PartStatus.FAILED in statuses:
            wanted = Phase.FAILED
        elif statuses <= {PartStatus.READY, PartStatus.DONE}:
            wanted = Phase.READY
        else:
            wanted = Phase.STARTED
        if wanted is not self._record.state.phase:
            self._record.enter(wanted)
