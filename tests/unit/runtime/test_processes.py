"""Finding and stopping processes by identity, session and mark."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.runtime.processes import (
    HOME_MARKER,
    PART_MARKER,
    ProcessIdentity,
    alive,
    identify,
    members,
    of_home,
    stop_processes,
)

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
PARENT_OF_STRAY = (
    "import subprocess,sys,time\n"
    "stray = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(stray.pid, flush=True)\n"
)


@contextmanager
def running(code: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def identity_of(pid: int) -> ProcessIdentity:
    found = identify(pid)
    assert found is not None
    return found


def test_a_reused_pid_is_not_the_recorded_process() -> None:
    own = identity_of(os.getpid())
    assert alive(own)
    assert not alive(ProcessIdentity(own.pid, own.started_at - 3600))
    assert members(ProcessIdentity(own.pid, own.started_at - 3600)) == []


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    with running(STUBBORN) as process:
        assert first_line(process) == "up"
        assert stop_processes([identity_of(process.pid)], grace_s=0.1) == []
        assert process.wait() == -9


def test_a_child_left_in_the_session_is_found_after_its_leader_ended() -> None:
    with running(PARENT_OF_STRAY) as leader:
        identity = identity_of(leader.pid)
        stray = int(first_line(leader))
        leader.wait()
        assert [member.pid for member in members(identity)] == [stray]
        assert stop_processes(members(identity), grace_s=5.0) == []


def test_marked_processes_of_a_home_are_found_by_home_and_part(tmp_path: Path) -> None:
    marks = {HOME_MARKER: str(tmp_path), PART_MARKER: "beat"}
    code = "import time; print('up', flush=True); time.sleep(600)"
    with running(code, **marks) as ours, running(code, **{**marks, HOME_MARKER: "/elsewhere"}) as other:
        assert first_line(ours) == first_line(other) == "up"
        assert [identity.pid for identity in of_home(tmp_path)] == [ours.pid]
        assert [identity.pid for identity in of_home(tmp_path, "beat")] == [ours.pid]
        assert of_home(tmp_path, "gateway") == []


def test_a_shell_that_exports_the_home_is_not_a_part(tmp_path: Path) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    with running(code, PORTRAIT_HOME=str(tmp_path)) as shell:
        assert first_line(shell) == "up"
        assert of_home(tmp_path) == []
