"""A whole stack in a temporary home, filled with a simulated shop, that may be hurt."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
from sqlalchemy import Engine

from services.core.addresses import Addresses, read_addresses
from services.db.session import make_engine
from services.ingest.import_file import import_file
from services.ingest.importers.base import Kind
from services.runtime.ports import free_port
from services.runtime.processes import ProcessIdentity, members, of_home
from services.runtime.shutdown import take_down
from services.runtime.state import PartState, PartStatus, Phase, StackState, read_state
from services.simulation.config import ShopConfig
from services.simulation.files import FileFormat
from services.simulation.ids import user_ids
from services.simulation.shop import SimulatedShop

T = TypeVar("T")

START_SECONDS = 300.0
JOB_SECONDS = 300.0
JOBS = ("embeddings", "features", "profiles", "snapshot")
"""What `POST /v1/recompute` is asked for, in this order, once the shop is imported."""


@dataclass(frozen=True)
class FaultStack:
    """A running stack. Addresses are read afresh: a server that is started again may listen on another port."""

    home: Path
    port: int
    items: list[str]
    users: list[str]

    @property
    def addresses(self) -> Addresses:
        found = read_addresses(self.home)
        assert found is not None, "the stack has recorded no addresses"
        return found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def state(self) -> StackState:
        found = read_state(self.home)
        assert found is not None, "the stack has recorded no state"
        return found

    def part(self, name: str) -> PartState:
        """One part as the supervisor recorded it."""
        return next(part for part in self.state().parts if part.name == name)

    def has(self, name: str) -> bool:
        return any(part.name == name for part in self.state().parts)

    def processes(self, name: str) -> list[ProcessIdentity]:
        """The living processes of a part, those in sessions of their own included."""
        identity = self.part(name).identity
        own = [] if identity is None else members(identity)
        return list({*own, *of_home(self.home, name)})

    def all_ready(self) -> bool:
        """Whether the supervisor says that every part works and the gateway says so too."""
        state = self.state()
        if state.phase is not Phase.READY or any(p.status not in _WORKING for p in state.parts):
            return False
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def engine(self, pool_size: int = 2) -> Engine:
        """Connections of the harness's own; the caller disposes of them."""
        return make_engine(self.addresses.sqlalchemy_url, pool_size=pool_size)

    def portrait(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `portrait` command with nothing set but the home."""
        return _portrait(self.home, *arguments)

    def up(self) -> None:
        """`portrait up` on the same home and port, ready."""
        port = str(self.port)
        started = self.portrait("up", "--detach", "--wait", "--json", "--port", port, "--timeout", str(START_SECONDS))
        assert started.returncode == 0, f"{started.stderr}\n{logs(self.home)}"

    def run_job(self, what: str, **parameters: object) -> dict:
        """Ask for a job over HTTP and wait for its end; the finished job. Fails when the job does."""
        asked = httpx.post(f"{self.url}/v1/recompute", json={"what": what, **parameters}, timeout=30)
        assert asked.status_code in (202, 409), asked.text
        job_id = asked.json()["job_id"]

        def ended() -> dict | None:
            job = httpx.get(f"{self.url}/v1/jobs/{job_id}", timeout=30).json()
            return job if job["status"] in ("done", "failed") else None

        job = eventually(ended, f"the end of the job {what}", JOB_SECONDS)
        if job["status"] != "done":
            time.sleep(1.0)  # the worker writes the reason to its log after it has ended the job
            raise AssertionError(f"{job}\n{logs(self.home, 4_000)}")
        return job


_WORKING = (PartStatus.READY, PartStatus.DONE)


@contextmanager
def running_stack(
    *, items: int, users: int, days: int = 30, seed: int = 1, disk_mib: int | None = None
) -> Iterator[FaultStack]:
    """`portrait up` on a temporary home with a simulated shop in it: embedded, with portraits and a snapshot.

    With `disk_mib` the home is a disk of its own where mounting one is permitted. Afterwards everything of the home is
    ended and the home removed, whatever happened.
    """
    home = Path(tempfile.mkdtemp(prefix="pf-")).resolve()
    mounted = disk_mib is not None and _mount(home, disk_mib)
    try:
        config = ShopConfig(end=datetime.now(UTC), users=users, items=items, days=days, seed=seed)
        shop = SimulatedShop(config)
        files = shop.write(home / "cache" / "shop", FileFormat.PARQUET)
        item_ids = [name for frame in shop.items() for name in frame["item_id"].to_list()]
        stack = FaultStack(home, free_port(), item_ids, user_ids(np.arange(users)).to_list())
        stack.up()
        engine = stack.engine()
        try:
            import_file(engine, files.items, kind=Kind.ITEMS)
            import_file(engine, files.events, kind=Kind.EVENTS)
        finally:
            engine.dispose()
        for what in JOBS:
            stack.run_job(what)
        eventually(lambda: _serves(stack) or None, "recommendations from the snapshot", 60)
        yield stack
    finally:
        take_down(home)
        if mounted:
            subprocess.run(["umount", "--lazy", str(home)], check=True)
        shutil.rmtree(home, ignore_errors=True)


def _mount(folder: Path, mebibytes: int) -> bool:
    """Put a file system of this size over the folder; False where that is not permitted."""
    options = f"size={mebibytes}m,mode=0711"
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def eventually(look: Callable[[], T | None], what: str, seconds: float, every: float = 0.2) -> T:
    """What `look` returns once it is not None. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(every)
    raise AssertionError(f"{what}: not after {seconds:.0f} s")


def logs(home: Path, characters: int = 1_500) -> str:
    """The ends of the parts' logs."""
    return "\n".join(f"{p.name}: {p.read_text()[-characters:]}" for p in sorted((home / "logs").glob("*.log")))


def _serves(stack: FaultStack) -> bool:
    body = {"user_id": stack.users[0], "count": 5}
    answer = httpx.post(f"{stack.url}/v1/recommendations", json=body, timeout=10)
    return answer.status_code == 200 and len(answer.json()["items"]) == 5


def _portrait(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "services.cli.main", *arguments],
        env={**clean, "PORTRAIT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=START_SECONDS + 60,
    )


def doctor(stack: FaultStack) -> dict[str, str]:
    """What `portrait doctor` finds: the level by check."""
    answer = stack.portrait("doctor", "--json")
    return {finding["name"]: finding["level"] for finding in json.loads(answer.stdout)["findings"]}
