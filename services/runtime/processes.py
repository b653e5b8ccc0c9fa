"""Processes by identity: a pid alone may be reused, a pid with its start time is one process for good."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.runtime.errors import tail

__all__ = ["ProcessIdentity", "alive", "identify", "of_home", "stop_processes", "tail", "tree"]

HOME_VARIABLE = "PORTRAIT_HOME"
START_TOLERANCE_S = 2.0
"""Start times derive from the boot time, which the system's clock corrections move a little."""


@dataclass(frozen=True)
class ProcessIdentity:
    """One process: `started_at` in seconds since the epoch."""

    pid: int
    started_at: float


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, or None when there is none or it is a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessIdentity(pid, process.create_time())
    except psutil.NoSuchProcess:
        return None


def alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs (not another that was given its pid)."""
    now = identify(identity.pid)
    return now is not None and abs(now.started_at - identity.started_at) < START_TOLERANCE_S


def tree(pid: int) -> list[ProcessIdentity]:
    """The process and all its living descendants."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = [identify(pid), *(identify(child.pid) for child in children)]
    return [identity for identity in found if identity is not None]


def of_home(home: Path) -> list[ProcessIdentity]:
    """Every process of this user whose environment names `home`, except the caller and its ancestors.

    Postgres's own children overwrite their environment and are not found: they end with their postmaster.
    """
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        try:
            named = process.environ().get(HOME_VARIABLE)
            if named and Path(named) == home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(ProcessIdentity(process.pid, process.create_time()))
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # another user's, or gone while we looked
    return found


def stop_processes(targets: Iterable[ProcessIdentity], grace_s: float) -> list[ProcessIdentity]:
    """SIGTERM, then SIGKILL after `grace_s` seconds. Returns what is alive even so (nothing, as a rule)."""
    remaining = _send(targets, signal.SIGTERM)
    remaining = _wait(remaining, grace_s)
    if remaining:
        remaining = _wait(_send(remaining, signal.SIGKILL), 2.0)
    return remaining


def _send(targets: Iterable[ProcessIdentity], number: signal.Signals) -> list[ProcessIdentity]:
    reached = []
    for target in targets:
        if not alive(target):
            continue
        try:
            os.kill(target.pid, number)
        except ProcessLookupError:
            continue
        reached.append(target)
    return reached


def _wait(targets: list[ProcessIdentity], seconds: float) -> list[ProcessIdentity]:
    deadline = time.monotonic() + seconds
    remaining = [target for target in targets if alive(target)]
    while remaining and time.monotonic() < deadline:
        time.sleep(0.05)
        remaining = [target for target in remaining if alive(target)]
    return remaining
