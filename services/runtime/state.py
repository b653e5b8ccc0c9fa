"""What the supervisor knows, as a file that `status`, `doctor`, `down` and the next `up` read."""

import json
import tempfile
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from services.core.paths import HomePaths
from services.runtime.processes import ProcessIdentity


class PartStatus(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


class Phase(StrEnum):
    STARTING = "starting"
    STARTED = "started"
    """Every part was launched; some may still be warming up."""
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass
class PartState:
    """One part as recorded. `started_at` is the process's start, seconds since the epoch."""

    name: str
    kind: str
    log: str
    status: PartStatus = PartStatus.WAITING
    command: list[str] = field(default_factory=list)
    pid: int | None = None
    started_at: float | None = None
    address: str | None = None
    restarts: int = 0
    seconds: float | None = None
    """How long it took from launch to ready or done."""
    error: str | None = None

    @property
    def identity(self) -> ProcessIdentity | None:
        if self.pid is None or self.started_at is None:
            return None
        return ProcessIdentity(self.pid, self.started_at)


@dataclass
class StackState:
    """The whole stack of one home."""

    pid: int
    started_at: float
    phase: Phase = Phase.STARTING
    error: str | None = None
    parts: list[PartState] = field(default_factory=list)

    def failure(self) -> str:
        """What failed, in one text."""
        parts = [f"{part.name}: {part.error}" for part in self.parts if part.status is PartStatus.FAILED]
        return self.error or "; ".join(parts) or "nothing failed"

    @property
    def supervisor(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.started_at)


def state_path(home: Path) -> Path:
    return HomePaths(home).run / "state.json"


def write_state(home: Path, state: StackState) -> None:
    """Replace the recorded state atomically."""
    path = state_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(asdict(state), file, indent=1)
    Path(file.name).replace(path)


def read_state(home: Path) -> StackState | None:
    """The recorded state, or None where nothing ever ran."""
    try:
        raw = json.loads(state_path(home).read_text())
    except FileNotFoundError:
        return None
    parts = [PartState(**{**part, "status": PartStatus(part["status"])}) for part in raw.pop("parts")]
    return StackState(**{**raw, "phase": Phase(raw["phase"]), "parts": parts})
