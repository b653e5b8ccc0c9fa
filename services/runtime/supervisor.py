"""The supervisor of one home: starts everything in order, keeps it up, and stops everything."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from pydantic import SecretStr

from services.core.addresses import Addresses, write_addresses
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.runtime.child import Child
from services.runtime.errors import PortInUse, StartFailed
from services.runtime.external import require_servers
from services.runtime.lock import HomeLock
from services.runtime.logs import bound_logs
from services.runtime.parts import PARTS, Part, PartKind
from services.runtime.ports import LOOPBACK, free_port, is_free
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.processes import identify
from services.runtime.record import Listener, Record
from services.runtime.shutdown import forget_addresses, stop_children, stop_leftovers, stop_servers
from services.runtime.state import Phase, read_state
from services.runtime.unchanged import fingerprint, forget, is_done, remember
from services.runtime.valkey import BROKER_DB, ONLINE_STORE_DB, EmbeddedValkey
from services.runtime.watch import Server, Watch

POLL_S, CALM_POLL_S = 0.2, 1.0
"""Between two looks at the parts: while something is not ready, and while everything is."""
LOG_CHECK_S = 10.0

log = get_logger("supervisor")


class Supervisor:
    """Runs the stack of one home until it is told to stop. Build one, call `run` from the main thread."""

    def __init__(
        self, settings: Settings, listener: Listener | None = None, parts: Sequence[Part] | None = None
    ) -> None:
        self.settings = settings
        self.home = settings.home
        self.port = 0
        self._parts = [part for part in (PARTS if parts is None else parts) if part.exists]
        own = identify(os.getpid())
        assert own is not None  # we run
        self._record = Record(self.home, own, listener)
        self._postgres = EmbeddedPostgres(HomePaths(self.home)) if settings.database_url is None else None
        self._valkey = EmbeddedValkey(HomePaths(self.home)) if settings.redis_url is None else None
        self._children: dict[str, Child] = {}
        self._stop_requested = False

    @property
    def servers(self) -> list[Server]:
        """The embedded servers: those that no URL replaces."""
        return [server for server in (self._postgres, self._valkey) if server is not None]

    def run(self) -> None:
        """Start, watch, and stop on SIGTERM or SIGINT.

        Raises:
            AlreadyRunning: another supervisor holds this home.
            StartFailed: a server or a step did not come up; everything started so far is stopped again.
            PortInUse, DependencyDown: the HTTP port is taken, or a configured server cannot be used.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with HomeLock(self.home), self._signals():
            try:
                self._start()
                self._watch()
            except (StartFailed, PortInUse, DependencyDown) as error:
                self._record.enter(Phase.FAILED, error.detail)
                raise
            finally:
                self._stop()

    def _start(self) -> None:
        for stopped in stop_leftovers(self.home, read_state(self.home)):
            log.info("orphan stopped", process=stopped)
        require_servers(self.settings)
        self.port = self._choose_port()
        for server in self.servers:
            self._record.add(server.name, PartKind.SERVER)
        for part in self._parts:
            self._record.add(part.name, part.kind)
        self._record.enter(Phase.STARTING)
        for server in self.servers:
            if not self._stop_requested:
                self._start_server(server)
        write_addresses(self.home, self._addresses())
        for kind, begin in ((PartKind.STEP, self._run_step), (PartKind.SERVICE, self._launch)):
            for part in self._parts:
                if part.kind is kind and not self._stop_requested:
                    begin(part)
        self._record.enter(Phase.STARTED)

    def _choose_port(self) -> int:
        wanted = self.settings.port
        if wanted and not is_free(wanted, self._host()):
            raise PortInUse(wanted)
        return wanted or free_port()

    def _host(self) -> str:
        return self.settings.bind if self.settings.loopback_only else LOOPBACK

    def _start_server(self, server: Server) -> None:
        part = self._record.of(server.name)
        self._record.starting(part)
        began = time.monotonic()
        try:
            identity = server.start()
        except StartFailed as error:
            self._record.failed(part, error.detail)
            raise
        part.address = server.url()
        self._record.ready(part, time.monotonic() - began, identity)

    def _addresses(self) -> Addresses:
        settings, valkey = self.settings, self._valkey
        redis_url = valkey.url(ONLINE_STORE_DB) if valkey else _secret(settings.redis_url)
        return Addresses(
            database_url=self._postgres.url() if self._postgres else _secret(settings.database_url),
            redis_url=redis_url,
            broker_url=_secret(settings.broker_url) or (valkey.url(BROKER_DB) if valkey else redis_url),
            redis_socket=str(valkey.socket) if valkey else None,
            http_url=f"http://{self._host()}:{self.port}",
        )

    def _run_step(self, part: Part) -> None:
        current = fingerprint(part, self._postgres.url()) if self._postgres else None
        if is_done(part, self.home, current):
            self._record.done(self._record.of(part.name), None)
            return
        forget(part, self.home)
        self._launch(part)
        child, state = self._children.pop(part.name), self._record.of(part.name)
        while child.exit_status is None and not self._stop_requested:
            time.sleep(0.05)
        child.sweep()
        if self._stop_requested:
            return
        if child.exit_status != 0:
            reason = f"it ended with status {child.exit_status}"
            self._record.failed(state, reason)
            raise StartFailed(f"The step “{part.name}” failed: {reason}", child.log)
        remember(part, self.home, current)
        self._record.done(state, child.ran_s)

    def _launch(self, part: Part) -> None:
        child = Child(part, self.settings, self.port)
        self._children[part.name] = child
        state = self._record.of(part.name)
        state.command = part.command(self.home)
        if part.serves_http:
            state.address = f"http://{self._host()}:{self.port}"
        self._record.starting(state, child.identity)

    def _watch(self) -> None:
        watch = Watch(self._record, self.servers, self._children, self._start_server, self._launch)
        next_log_check = time.monotonic() + LOG_CHECK_S
        while not self._stop_requested:
            watch.look()
            if time.monotonic() >= next_log_check:
                bound_logs(HomePaths(self.home).logs)
                next_log_check = time.monotonic() + LOG_CHECK_S
            time.sleep(CALM_POLL_S if self._record.state.phase is Phase.READY else POLL_S)

    def _stop(self) -> None:
        failed_to_start = self._record.state.phase is Phase.FAILED and not self._stop_requested
        if not failed_to_start:
            self._record.enter(Phase.STOPPING)
        stop_children(list(self._children.values()))
        stop_leftovers(self.home, self._record.state, grace_s=0.5)
        stop_servers(self.home)
        forget_addresses(self.home)
        self._record.all_stopped()
        self._record.enter(Phase.FAILED if failed_to_start else Phase.STOPPED)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def request_stop(number: int, frame: FrameType | None) -> None:
            self._stop_requested = True

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        earlier = {number: signal.signal(number, request_stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""
