"""What can go wrong while the stack starts and stops."""

from pathlib import Path

from services.core.errors import PortraitError


class StartFailed(PortraitError):
    """A part did not come up: a sentence without its full stop; the detail ends with the last lines of its log."""

    status, code, title = 503, "start-failed", "A part of the stack did not start"

    def __init__(self, sentence: str, log: Path) -> None:
        super().__init__(f"{sentence}. The end of {log}:\n{tail(log)}")


class StackFailed(PortraitError):
    """A detached supervisor recorded a failure: the detail is what it recorded."""

    status, code, title = 503, "start-failed", "The stack did not start"


class PortInUse(PortraitError):
    status, code, title = 409, "port-in-use", "The port is taken"

    def __init__(self, port: int) -> None:
        super().__init__(
            f"Port {port} is in use by another program: choose another with --port or PORTRAIT_PORT; 0 takes a free one"
        )


class StopFailed(PortraitError):
    status, code, title = 500, "stop-failed", "A part of the stack did not stop"


class AlreadyRunning(PortraitError):
    status, code, title = 409, "already-running", "This home is already running"


def tail(log: Path, lines: int = 12, window: int = 16_384) -> str:
    """The last `lines` lines of a log, read from its last `window` bytes; a placeholder when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - window))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "  (no log was written)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (the log is empty)"
