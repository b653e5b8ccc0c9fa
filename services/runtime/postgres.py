"""One embedded PostgreSQL under a home: start it, find it again, stop it. It listens on a Unix socket alone."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from services.core.paths import HomePaths, socket_folder
from services.runtime.errors import StartFailed, StopFailed
from services.runtime.postgres_binaries import binaries, open_binaries, open_for_server_user, server_user
from services.runtime.processes import ProcessIdentity, alive, identify

DATABASE = "portrait"
ROLE = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
READY_LINE = 7
"""Index of the line of postmaster.pid that says `ready` once connections are accepted."""
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 20)}
"""A backend that once took a large message else keeps twice its size: glibc lets its thresholds grow with use."""
DYING_S = 1.0
"""How long a server that was found but does not answer may take to end before it is adopted (it may be recovering)."""


@dataclass(frozen=True)
class PostgresConfig:
    """Server settings, written to `portrait.conf` at each start. Sizes in PostgreSQL's own units.

    No global statement_timeout: a bulk load or a migration may run long. Whoever serves requests sets one on its
    own connections. `durable=False` is for tests: it skips fsync and nothing else.
    """

    shared_buffers: str = "256MB"
    work_mem: str = "16MB"
    maintenance_work_mem: str = "256MB"
    max_connections: int = 100
    max_wal_size: str = "4GB"
    durable: bool = True

    def lines(self, socket: Path) -> str:
        """The text of `portrait.conf`."""
        values = {
            "listen_addresses": "''",
            "unix_socket_directories": _quoted(socket),
            "unix_socket_permissions": "0700",
            "shared_buffers": self.shared_buffers,
            "work_mem": self.work_mem,
            "maintenance_work_mem": self.maintenance_work_mem,
            "max_connections": self.max_connections,
            "synchronous_commit": "on" if self.durable else "off",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "max_wal_size": self.max_wal_size,
            "min_wal_size": "256MB" if self.durable else "80MB",
            "wal_compression": "on",
            "wal_level": "replica",
            "checkpoint_timeout": "15min",
            "random_page_cost": 1.1,
            "jit": "off",
            "idle_in_transaction_session_timeout": "'15min'",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_line_prefix": "'%m [%p] %d '",
            "log_min_duration_statement": "'2s'",
            "log_parameter_max_length": 0,  # what users did stays out of the log
        }
        return "".join(f"{name} = {value}\n" for name, value in values.items())


class EmbeddedPostgres:
    """The server of one home. The object holds no handle: any process may build it and act on the same server."""

    name = "postgres"

    def __init__(self, paths: HomePaths, config: PostgresConfig | None = None) -> None:
        self.data = paths.postgres
        self.log = paths.logs / "postgres.log"
        self.config = config or PostgresConfig()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Folder of the Unix socket: the data folder, or a short one where its path is too long for a socket."""
        return socket_folder(self.data, SOCKET_NAME)

    def url(self, database: str = DATABASE) -> str:
        """The libpq URL of a database of this server."""
        return f"postgresql://{ROLE}@/{database}?host={self.socket}"

    def running(self) -> ProcessIdentity | None:
        """The postmaster that works on this data folder, whoever started it, or None."""
        lines = self._postmaster_lines()
        if not lines or not lines[0].isdigit():
            return None
        if self._child is not None:
            self._child.poll()  # reaps our own child, so that a dead one is not taken for a living one
        pid = int(lines[0])
        try:
            command = psutil.Process(pid).cmdline()
        except psutil.Error:
            return None
        return identify(pid) if str(self.data) in command else None

    def start(self, timeout_s: float = 120.0) -> ProcessIdentity:
        """Start the server, or adopt the one that already works on this folder, and create the database.

        Crash recovery counts: `timeout_s` is generous. Raises StartFailed with the end of the log.
        """
        user = server_user()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        found = self.running()
        if found is not None and not self.healthy() and self._wait_gone(found, DYING_S):
            found = None  # it was on its way out when it was found
        if found is None:
            self._initialise(user)
            self._configure(user)
            self._launch(user)
        identity = self._wait_ready(found, deadline)
        self._create_database(DATABASE)
        return identity

    def stop(self, grace_s: float = 10.0) -> None:
        """Fast shutdown (sessions end, a checkpoint is written); immediate after `grace_s`. Raises StopFailed."""
        identity = self.running()
        if identity is None:
            return
        for number, seconds in ((signal.SIGINT, grace_s), (signal.SIGQUIT, 5.0)):
            with suppress(ProcessLookupError):
                os.kill(identity.pid, number)
            if self._wait_gone(identity, seconds):
                return
        raise StopFailed(f"PostgreSQL (pid {identity.pid}) does not stop: see {self.log}")

    def healthy(self) -> bool:
        """Whether it answers a query."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False

    def _postmaster_lines(self) -> list[str]:
        try:
            return [line.strip() for line in (self.data / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _initialise(self, user: pwd.struct_passwd | None) -> None:
        """`initdb` into a sibling folder that is renamed when complete: an interrupted one leaves no half cluster."""
        if user is not None:
            open_binaries(binaries())
        self.data.parent.mkdir(parents=True, exist_ok=True)
        if user is not None:
            open_for_server_user(self.data)
        if (self.data / "PG_VERSION").exists():
            return
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if user is not None:
            os.chown(fresh, user.pw_uid, user.pw_gid)
        options = ["--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        command = [str(binaries() / "initdb"), "-D", str(fresh), "-U", ROLE, *options]
        if not self.config.durable:
            command.append("--no-sync")
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, check=False, **_as_user(user))
        if done.returncode != 0:
            raise StartFailed(f"PostgreSQL did not start: initdb failed with status {done.returncode}", self.log)
        with (fresh / "postgresql.conf").open("a") as file:
            file.write("\ninclude 'portrait.conf'\n")
        fresh.rename(self.data)

    def _configure(self, user: pwd.struct_passwd | None) -> None:
        folder = self.socket
        if folder != self.data:
            folder.mkdir(mode=0o700, exist_ok=True)
        path = self.data / "portrait.conf"
        path.write_text(self.config.lines(folder))
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            os.chown(path, user.pw_uid, user.pw_gid)
        if self.running() is None:
            # Left by a crash. PostgreSQL itself would refuse where the pid now belongs to some other program, or to
            # the dead server itself that nobody has reaped yet.
            for lock in (self.data / "postmaster.pid", folder / f"{SOCKET_NAME}.lock"):
                lock.unlink(missing_ok=True)

    def _launch(self, user: pwd.struct_passwd | None) -> None:
        command = [str(binaries() / "postgres"), "-D", str(self.data)]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **GIVES_BACK},
                **_as_user(user),
            )

    def _wait_ready(self, adopted: ProcessIdentity | None, deadline: float) -> ProcessIdentity:
        while time.monotonic() < deadline:
            if self._child is not None and self._child.poll() is not None:
                raise StartFailed(f"PostgreSQL did not start: it ended with status {self._child.returncode}", self.log)
            if adopted is not None and not alive(adopted):
                raise StartFailed("PostgreSQL did not start: the server that was found ended", self.log)
            lines = self._postmaster_lines()
            identity = self.running()
            if identity is not None and len(lines) > READY_LINE and lines[READY_LINE] == "ready" and self.healthy():
                return identity
            time.sleep(0.05)
        raise StartFailed(
            "PostgreSQL did not start: it is not ready in time (crash recovery may take longer: try again)", self.log
        )

    def _wait_gone(self, identity: ProcessIdentity, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()
            if not alive(identity):
                return True
            time.sleep(0.05)
        return False

    def _create_database(self, name: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of subprocess that run a tool as the server's user, in a folder that it may stand in."""
    if user is None:
        return {"cwd": "/"}
    return {"cwd": "/", "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
