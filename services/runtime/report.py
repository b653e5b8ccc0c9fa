"""What runs now: the recorded state checked against the living processes."""

import time
from dataclasses import dataclass
from pathlib import Path

from services.core.addresses import read_addresses
from services.core.paths import HomePaths
from services.runtime.child import answers_ready
from services.runtime.parts import PartKind
from services.runtime.ports import LOOPBACK
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.processes import alive, members, memory_bytes, of_home
from services.runtime.state import PartState, PartStatus, StackState, read_state
from services.runtime.valkey import EmbeddedValkey


@dataclass(frozen=True)
class PartReport:
    """One part as it is now. `health` is what was asked of it just now, None for parts that nobody can ask."""

    name: str
    status: str
    healthy: bool | None
    address: str | None
    pid: int | None
    memory_bytes: int
    processes: int
    uptime_s: float | None
    restarts: int
    error: str | None
    log: str


@dataclass(frozen=True)
class StackReport:
    """A home's stack as it is now. `phase` is `stopped` when no supervisor lives, whatever was recorded."""

    home: str
    running: bool
    phase: str
    http_url: str | None
    uptime_s: float | None
    memory_bytes: int
    parts: list[PartReport]


def report(home: Path) -> StackReport:
    """Look at everything the home's supervisor recorded, and at what runs although no supervisor lives."""
    state = read_state(home)
    running = state is not None and alive(state.supervisor)
    parts = [_report_part(part, home, running) for part in (state.parts if state else []) if _is_shown(part)]
    addresses = read_addresses(home)
    own = memory_bytes([state.supervisor]) if state is not None and running else 0
    return StackReport(
        home=str(home),
        running=running,
        phase=_phase(state, running),
        http_url=addresses.http_url if addresses and running else None,
        uptime_s=round(time.time() - state.started_at, 1) if state is not None and running else None,
        memory_bytes=own + sum(part.memory_bytes for part in parts),
        parts=parts,
    )


def _phase(state: StackState | None, running: bool) -> str:
    if running and state is not None:
        return state.phase.value
    return "failed" if state is not None and state.error else "stopped"


def _is_shown(part: PartState) -> bool:
    return part.kind != PartKind.STEP or part.status is not PartStatus.DONE


def _report_part(part: PartState, home: Path, running: bool) -> PartReport:
    identity = part.identity
    lives = identity is not None and alive(identity)
    processes = []
    if identity is not None and lives:
        processes = list({*members(identity), *of_home(home, part.name)})
    status = part.status.value
    if not running and status not in (PartStatus.STOPPED, PartStatus.FAILED):
        status = "orphaned" if lives else "lost"
    return PartReport(
        name=part.name,
        status=status,
        healthy=_healthy(part, home) if lives else None,
        address=part.address,
        pid=part.pid if lives else None,
        memory_bytes=memory_bytes(processes),
        processes=len(processes),
        uptime_s=round(time.time() - identity.started_at, 1) if identity is not None and lives else None,
        restarts=part.restarts,
        error=part.error,
        log=part.log,
    )


def _healthy(part: PartState, home: Path) -> bool | None:
    if part.name == EmbeddedPostgres.name:
        return EmbeddedPostgres(HomePaths(home)).healthy()
    if part.name == EmbeddedValkey.name:
        return EmbeddedValkey(HomePaths(home)).healthy()
    if part.address is not None:
        return answers_ready(LOOPBACK, int(part.address.rsplit(":", 1)[1]))
    return None
