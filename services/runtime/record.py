"""The running account of a stack: each change is written to the home and told to a listener."""

from collections.abc import Callable
from pathlib import Path

from services.runtime.child import log_of
from services.runtime.parts import PartKind
from services.runtime.processes import ProcessIdentity
from services.runtime.state import PartState, PartStatus, Phase, StackState, write_state

Listener = Callable[[StackState, PartState | None], None]
"""Called after each change: the stack and the part that changed (None: the phase did)."""


class Record:
    """The state of one home's stack while its supervisor runs."""

    def __init__(self, home: Path, supervisor: ProcessIdentity, listener: Listener | None = None) -> None:
        self.home = home
        self.state = StackState(supervisor.pid, supervisor.started_at)
        self._listener = listener

    def add(self, name: str, kind: PartKind) -> None:
        """Announce a part that will be started."""
        self.state.parts.append(PartState(name=name, kind=kind.value, log=str(log_of(name, self.home))))

    def of(self, name: str) -> PartState:
        return next(part for part in self.state.parts if part.name == name)

    def enter(self, phase: Phase, error: str | None = None) -> None:
        """The stack enters a phase."""
        self.state.phase = phase
        self.state.error = error or self.state.error
        self._changed(None)

    def starting(self, part: PartState, identity: ProcessIdentity | None = None) -> None:
        part.status, part.error, part.seconds = PartStatus.STARTING, None, None
        if identity is not None:
            part.pid, part.started_at = identity.pid, identity.started_at
        self._changed(part)

    def ready(self, part: PartState, seconds: float, identity: ProcessIdentity | None = None) -> None:
        part.status, part.seconds, part.error = PartStatus.READY, round(seconds, 2), None
        if identity is not None:
            part.pid, part.started_at = identity.pid, identity.started_at
        self._changed(part)

    def done(self, part: PartState, seconds: float | None) -> None:
        """A step ran to its end, or needed not run: then `seconds` is None."""
        self._end(part, PartStatus.DONE)
        part.seconds = None if seconds is None else round(seconds, 2)
        self._changed(part)

    def restarting(self, part: PartState, reason: str) -> None:
        self._end(part, PartStatus.RESTARTING)
        part.error = reason
        self._changed(part)

    def failed(self, part: PartState, reason: str) -> None:
        self._end(part, PartStatus.FAILED)
        part.error = reason
        self._changed(part)

    def all_stopped(self) -> None:
        """Nothing runs any more; failures stay visible."""
        for part in self.state.parts:
            self._end(part, PartStatus.FAILED if part.status is PartStatus.FAILED else PartStatus.STOPPED)
            if part.status is PartStatus.STOPPED:
                part.error = None

    def _end(self, part: PartState, status: PartStatus) -> None:
        part.status, part.pid, part.started_at = status, None, None

    def _changed(self, part: PartState | None) -> None:
        write_state(self.home, self.state)
        if self._listener is not None:
            self._listener(self.state, part)
