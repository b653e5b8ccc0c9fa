"""One part as a child process in a session of its own: launched, asked whether it ended, stopped with all it began."""

import http.client
import signal
import subprocess
import time
from pathlib import Path

from services.core.paths import HomePaths
from services.core.settings import Settings
from services.runtime.parts import Part, Readiness, environment_of, ready_file
from services.runtime.ports import LOOPBACK
from services.runtime.processes import ProcessIdentity, identify, lower_priority, members, of_home, send

SETTLED_S = 2.0
"""A part that neither tells nor can be asked is taken to work once it has lived this long."""

READY_TEXT_BYTES = 2_000


class Child:
    """A launched part."""

    def __init__(self, part: Part, settings: Settings, port: int) -> None:
        self.part = part
        self.port = port
        self._home = settings.home
        self.log = log_of(part.name, settings.home)
        self.launched_at = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        told = ready_file(part, settings.home)
        told.parent.mkdir(parents=True, exist_ok=True)
        told.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                part.command(settings.home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment_of(part, settings, port),
            )
        if part.niceness:
            lower_priority(self._process.pid, part.niceness)
        # A process that ended at once is a zombie until it is polled: its pid is still its own.
        self.identity = identify(self._process.pid) or ProcessIdentity(self._process.pid, time.time())

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    @property
    def ran_s(self) -> float:
        return time.monotonic() - self.launched_at

    def ready(self) -> bool:
        """Whether it does its work: alive, and for those that can be asked or tell, also that."""
        if self.exit_status is not None:
            return False
        if self.part.readiness is Readiness.ALIVE:
            return self.ran_s >= SETTLED_S
        if self.part.readiness is Readiness.TOLD:
            return ready_file(self.part, self._home).exists()
        return answers_ready(LOOPBACK, self.port)

    def processes(self) -> list[ProcessIdentity]:
        """The part's living processes, those in sessions of their own included."""
        return list({*members(self.identity), *of_home(self._home, self.part.name)})

    def request_stop(self, number: signal.Signals) -> None:
        """Send the signal to the leader alone: it knows how to end its own children."""
        if self.exit_status is None:
            send([self.identity], number)

    def sweep(self) -> None:
        """Kill what the part left behind (its own orderly end is over)."""
        send(self.processes(), signal.SIGKILL)
        self._process.poll()


def log_of(name: str, home: Path) -> Path:
    """The log file of a part."""
    return HomePaths(home).logs / f"{name}.log"


def answers_ready(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether `GET /readyz` answers 200."""
    return ask_ready(host, port, timeout_s)[0]


def ask_ready(host: str, port: int, timeout_s: float) -> tuple[bool, str]:
    """Whether `GET /readyz` answers 200, and what it says (or why nothing came)."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == 200, answer.read(READY_TEXT_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer: {error}"
    finally:
        connection.close()
