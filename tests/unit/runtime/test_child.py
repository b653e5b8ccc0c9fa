"""A launched part: when it counts as ready, and what stopping it ends."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from services.core.settings import Settings
from services.runtime.child import Child, answers_ready
from services.runtime.parts import Part, PartKind, Readiness, ready_file
from services.runtime.shutdown import stop_children

TELLS = "import sys, time; from services.core.ready import tell_ready; tell_ready(); time.sleep(600)"
SILENT = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen(['sleep', '600'])\n"
    "print('up', flush=True)\n"
    "time.sleep(600)\n"
)


@contextmanager
def launched(home: Path, code: str, readiness: Readiness = Readiness.TOLD) -> Iterator[Child]:
    part = Part("part", PartKind.SERVICE, ("-c", code), "services", readiness=readiness, stop=((15, 0.2),))
    child = Child(part, Settings(home=home), port=1)
    try:
        yield child
    finally:
        child.sweep()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_part_that_tells_is_ready_once_it_has_told(tmp_path: Path) -> None:
    with launched(tmp_path, TELLS) as child:
        until(child.ready)


def test_what_an_earlier_run_told_does_not_count(tmp_path: Path) -> None:
    with launched(tmp_path, SILENT) as child:
        ready_file(child.part, tmp_path).touch()
        assert child.ready()
    with launched(tmp_path, SILENT) as child:
        until(lambda: "up" in child.log.read_text())
        assert not child.ready()


def test_a_part_that_ended_is_not_ready_whatever_it_told(tmp_path: Path) -> None:
    with launched(tmp_path, TELLS.replace("time.sleep(600)", "sys.exit(7)")) as child:
        until(lambda: child.exit_status is not None)
        assert child.exit_status == 7
        assert not child.ready()


def test_stopping_ends_a_stubborn_part_and_its_children(tmp_path: Path) -> None:
    with launched(tmp_path, STUBBORN) as child:
        until(lambda: "up" in child.log.read_text())
        pids = [identity.pid for identity in child.processes()]
        assert len(pids) == 2
        stop_children([child])
        until(lambda: child.exit_status is not None)
        until(lambda: not any(psutil.pid_exists(pid) and _lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_only_a_200_counts_as_an_answer_that_is_ready() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        status = 503

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert not answers_ready("127.0.0.1", server.server_port)
        Handler.status = 200
        assert answers_ready("127.0.0.1", server.server_port)
        server.shutdown()
    assert not answers_ready("127.0.0.1", 1)
