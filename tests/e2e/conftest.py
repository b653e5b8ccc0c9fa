"""The whole stack, started once a session by the command a user types, and stopped the same way."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import httpx
import pytest

from services.core.addresses import Addresses, read_addresses

T = TypeVar("T")

START_SECONDS = 300.0


@dataclass(frozen=True)
class Stack:
    """A running stack of a temporary home."""

    home: Path
    addresses: Addresses
    client: httpx.Client

    def portrait(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `portrait` command on this home."""
        return run_portrait(self.home, *arguments)

    def eventually(self, look: Callable[[], T | None], what: str, seconds: float = 90.0) -> T:
        """What `look` returns once it is not None; fails after `seconds`."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            found = look()
            if found is not None:
                return found
            sleep(0.2)
        pytest.fail(f"{what}: not after {seconds:.0f} s")


def run_portrait(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `portrait` command with nothing set but the home."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "services.cli.main", *arguments],
        env={**clean, "PORTRAIT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=START_SECONDS + 60,
    )


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Everything `portrait up` starts, on a free port; `portrait down` must leave nothing behind."""
    home = Path(tempfile.mkdtemp(prefix="pe-")).resolve()
    try:
        up = run_portrait(home, "up", "--detach", "--wait", "--json", "--port", "0", "--timeout", str(START_SECONDS))
        assert up.returncode == 0, f"{up.stderr}\n{_logs(home)}"
        addresses = read_addresses(home)
        assert addresses is not None
        assert json.loads(up.stdout)["http_url"] == addresses.http_url
        with httpx.Client(base_url=addresses.http_url or "", timeout=30) as client:
            yield Stack(home, addresses, client)
    finally:
        down = run_portrait(home, "down")
        left = [pid for pid in _processes() if _is_of(pid, home)]
        shutil.rmtree(home, ignore_errors=True)
    assert down.returncode == 0, down.stderr
    assert left == []


def _logs(home: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted((home / "logs").glob("*.log")))


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _is_of(pid: int, home: Path) -> bool:
    try:
        return f"PORTRAIT_HOME={home}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes() and pid != os.getpid()
    except OSError:
        return False
