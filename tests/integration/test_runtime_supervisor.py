"""The supervisor as a process: start and stop, killed launchers, external servers, parts that keep ending."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from services.core.addresses import Addresses, read_addresses
from services.core.paths import HomePaths
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.processes import alive, of_home
from services.runtime.shutdown import take_down
from services.runtime.state import PartStatus, Phase, StackState, read_state
from services.runtime.valkey import EmbeddedValkey

LAUNCHER = """
import json, os, sys
from pathlib import Path
from services.core.errors import PortraitError
from services.core.settings import Settings
from services.runtime.parts import Part, PartKind
from services.runtime.supervisor import Supervisor

table = [
    Part(name, PartKind(kind), tuple(arguments), "services", depends_on=("services.runtime",) * (name == "lasting"))
    for name, kind, arguments in json.loads(sys.argv[1])
]
try:
    Supervisor(Settings(), parts=table).run()
except PortraitError as error:
    sys.exit(error.code + ": " + error.detail)
"""
STRAY = "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
SERVICE = ("stray", "service", ["-c", STRAY])
ENDING = ("ending", "service", ["-c", "print('no luck'); raise SystemExit(3)"])
FAILING_STEP = ("step", "step", ["-c", "raise SystemExit('the step says why')"])


@dataclass
class Launched:
    """A home and the supervisors started on it."""

    home: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def up(self, *parts: tuple[str, str, list[str]], **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", LAUNCHER, json.dumps(parts)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PORTRAIT_HOME": str(self.home), "PORTRAIT_PORT": "0", **environment},
        )
        self.processes.append(process)
        return process

    def state(self) -> StackState:
        found = read_state(self.home)
        assert found is not None
        return found

    def wait_for(self, process: subprocess.Popen[str], reached: Callable[[StackState], bool]) -> StackState:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            state = read_state(self.home)
            if state is not None and state.pid == process.pid and reached(state):
                return state
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
        raise AssertionError(f"not reached: {read_state(self.home)}")

    def left_behind(self) -> list[str]:
        """Command lines of every process that mentions the home or carries its mark."""
        marked = {identity.pid for identity in of_home(self.home)}
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "status"]):
            line = " ".join(process.info["cmdline"] or [])
            mentions = process.info["pid"] in marked or str(self.home) in line
            if mentions and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(line)
        return found


@pytest.fixture
def stack() -> Iterator[Launched]:
    launched = Launched(Path(tempfile.mkdtemp(prefix="pt-")).resolve())
    yield launched
    for process in launched.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
    take_down(launched.home)
    assert launched.left_behind() == []
    shutil.rmtree(launched.home)


def is_ready(state: StackState) -> bool:
    return state.phase is Phase.READY


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_process_and_no_address_behind(stack: Launched, number: signal.Signals) -> None:
    process = stack.up(SERVICE)
    stack.wait_for(process, is_ready)
    assert any("sleep" in line for line in stack.left_behind())
    process.send_signal(number)
    assert process.wait(15) == 0
    assert stack.left_behind() == []
    assert read_addresses(stack.home) is None
    assert stack.state().phase is Phase.STOPPED


def test_down_stops_the_stack_of_another_process(stack: Launched) -> None:
    process = stack.up(SERVICE)
    stack.wait_for(process, is_ready)
    assert take_down(stack.home)
    assert process.wait(5) == 0
    assert stack.left_behind() == []
    assert not take_down(stack.home)


def test_after_a_killed_launcher_servers_are_adopted_and_parts_replaced(stack: Launched) -> None:
    first = stack.up(SERVICE)
    before = {part.name: part.identity for part in stack.wait_for(first, is_ready).parts}
    first.kill()
    first.wait()
    assert all(identity is not None and alive(identity) for identity in before.values())
    second = stack.up(SERVICE)
    after = {part.name: part.identity for part in stack.wait_for(second, is_ready).parts}
    assert after["postgres"] == before["postgres"]
    assert after["valkey"] == before["valkey"]
    assert after["stray"] != before["stray"]
    orphan = before["stray"]
    assert orphan is not None and not alive(orphan)
    assert sum("sleep 600" in line for line in stack.left_behind()) == 1


def test_down_finds_what_a_killed_launcher_left(stack: Launched) -> None:
    process = stack.up(SERVICE)
    stack.wait_for(process, is_ready)
    process.kill()
    process.wait()
    assert stack.left_behind() != []
    assert take_down(stack.home)
    assert stack.left_behind() == []


def test_a_second_up_on_a_running_home_is_refused(stack: Launched) -> None:
    first = stack.up()
    stack.wait_for(first, is_ready)
    second = stack.up()
    _, error = second.communicate(timeout=30)
    assert second.returncode == 1
    assert error.startswith("already-running")
    assert first.poll() is None
    assert stack.state().pid == first.pid


def test_with_urls_nothing_embedded_starts(stack: Launched, database: Addresses) -> None:
    urls = {"PORTRAIT_DATABASE_URL": database.database_url, "PORTRAIT_REDIS_URL": database.redis_url}
    process = stack.up(("migrations", "step", ["-m", "services.db.migrate"]), **urls)
    state = stack.wait_for(process, is_ready)
    assert [part.name for part in state.parts] == ["migrations"]
    assert not HomePaths(stack.home).postgres.exists()
    assert not HomePaths(stack.home).valkey.exists()
    recorded = read_addresses(stack.home)
    assert recorded is not None
    assert (recorded.database_url, recorded.redis_url) == (database.database_url, database.redis_url)


def test_a_configured_server_that_does_not_answer_is_named_before_anything_starts(stack: Launched) -> None:
    process = stack.up(SERVICE, PORTRAIT_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/x")
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error.startswith("dependency-down: PORTRAIT_DATABASE_URL: 127.0.0.1:1 cannot be used")
    assert "s3cret" not in error
    assert stack.state().parts == []


def test_a_taken_http_port_is_named_before_anything_starts(stack: Launched) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        process = stack.up(SERVICE, PORTRAIT_PORT=str(port))
        _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error.startswith(f"port-in-use: Port {port} is in use")
    assert not HomePaths(stack.home).postgres.exists()


def test_a_part_that_keeps_ending_has_failed_and_its_log_is_quoted(stack: Launched) -> None:
    process = stack.up(SERVICE, ENDING)
    state = stack.wait_for(process, lambda state: state.phase is Phase.FAILED)
    parts = {part.name: part for part in state.parts}
    assert parts["ending"].status is PartStatus.FAILED
    assert parts["ending"].restarts == 4
    assert "ended with status 3, 5 times in a row" in (parts["ending"].error or "")
    assert "no luck" in (parts["ending"].error or "")
    assert parts["stray"].status is PartStatus.READY


def test_a_failing_step_stops_the_start_and_says_why(stack: Launched) -> None:
    process = stack.up(FAILING_STEP, SERVICE)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.startswith("start-failed: The step “step” failed: it ended with status 1")
    assert "the step says why" in error
    assert stack.left_behind() == []
    assert stack.state().phase is Phase.FAILED


def test_a_step_that_depends_on_unchanged_sources_runs_once_a_database(stack: Launched) -> None:
    count = "import os; open(os.environ['PORTRAIT_HOME'] + '/count', 'a').write(sys.argv[1])"
    steps = [
        ("lasting", "step", ["-c", f"import sys; {count}", "L"]),
        ("always", "step", ["-c", f"import sys; {count}", "A"]),
    ]
    for _ in range(2):
        process = stack.up(*steps)
        stack.wait_for(process, is_ready)
        assert take_down(stack.home)
        process.wait()
    assert (stack.home / "count").read_text() == "LAA"
    shutil.rmtree(HomePaths(stack.home).postgres)
    process = stack.up(*steps)
    stack.wait_for(process, is_ready)
    assert (stack.home / "count").read_text() == "LAALA"


def test_a_killed_server_is_started_again(stack: Launched) -> None:
    process = stack.up()
    before = {part.name: part.identity for part in stack.wait_for(process, is_ready).parts}
    for identity in before.values():
        assert identity is not None
        os.kill(identity.pid, signal.SIGKILL)
    restarted = stack.wait_for(process, lambda state: is_ready(state) and all(part.restarts for part in state.parts))
    assert all(part.identity != before[part.name] for part in restarted.parts)
    paths = HomePaths(stack.home)
    assert EmbeddedPostgres(paths).healthy() and EmbeddedValkey(paths).healthy()
    with psycopg.connect(EmbeddedPostgres(paths).url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
