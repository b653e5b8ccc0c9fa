"""Signals that end the gateway in an orderly way, and how its processes tell each other that it is ending."""

import signal
import threading
from pathlib import Path

from services.serve.environment import RayFolders


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT. Ray installs handlers of its own when it starts: call it again after that."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def announce_stop(home: Path) -> None:
    """From now on the home's gateway says that it is not ready, while it goes on answering."""
    folder = RayFolders.of(home).haproxy
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _mark(home).touch()


def stopping(home: Path) -> bool:
    """Whether the home's gateway is about to end."""
    return _mark(home).exists()


def _mark(home: Path) -> Path:
    return RayFolders.of(home).haproxy / "stopping"
