"""The supervisor as a process of its own: `start_detached` begins it, `python -m services.runtime.launch` is it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from services.core.errors import PortraitError
from services.core.logging import configure_logging, get_logger
from services.core.paths import HomePaths
from services.core.settings import Settings, get_settings
from services.runtime.errors import StackFailed, StartFailed
from services.runtime.lock import HomeLock
from services.runtime.processes import alive
from services.runtime.state import Phase, StackState, read_state
from services.runtime.supervisor import Supervisor


def start_detached(
    settings: Settings, *, until: Phase, timeout_s: float, on_state: Callable[[StackState], None] | None = None
) -> StackState:
    """Start the supervisor in a session of its own and wait until the stack is STARTED or READY.

    Raises:
        AlreadyRunning: the home has a supervisor.
        StackFailed: a part failed (where it is a service, the rest is left running).
        StartFailed: the supervisor itself ended, or `timeout_s` passed (what was started is left running then).
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with HomeLock(settings.home):
        pass  # refuses here, in the caller's terminal, rather than in a log
    log = HomePaths(settings.home).logs / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PORTRAIT_HOME": str(settings.home), "PORTRAIT_PORT": str(settings.port)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.runtime.launch"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )
    wanted = {Phase.READY} if until is Phase.READY else {Phase.STARTED, Phase.READY}
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        state = read_state(settings.home)
        if state is not None and state.pid == process.pid:
            if on_state is not None:
                on_state(state)
            if state.phase in wanted:
                return state
            if state.phase is Phase.FAILED:
                raise StackFailed(state.failure())
        if ended:
            raise StartFailed(f"The supervisor ended with status {process.returncode}", log)
        time.sleep(0.1)
    raise StartFailed(f"The stack is not {until.value} after {timeout_s:.0f} s: see `portrait status`", log)


def is_running(settings: Settings) -> StackState | None:
    """The state of the home's living supervisor, or None."""
    state = read_state(settings.home)
    return state if state is not None and alive(state.supervisor) else None


def main() -> int:
    settings = get_settings()
    configure_logging(settings.log_level, json_lines=True)
    try:
        Supervisor(settings).run()
    except PortraitError as error:
        get_logger("supervisor").error(error.code, detail=error.detail)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
