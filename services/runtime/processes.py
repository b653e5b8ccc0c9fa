"""Processes by identity: a pid alone may be reused, a pid with its start time is one process for good."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

HOME_MARKER = "PORTRAIT_SUPERVISED_HOME"
PART_MARKER = "PORTRAIT_SUPERVISED_PART"
"""Set in the environment of every part, and by nobody else: a shell that exports PORTRAIT_HOME is no part."""
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


def members(leader: ProcessIdentity) -> list[ProcessIdentity]:
    """The part's living processes: the leader, its descendants, and whoever is left of its session.

    A session's number is not given away while the session has members, so an ended leader is no obstacle; a living
    process with the leader's pid and another start time proves that the session is gone.
    """
    holder = identify(leader.pid)
    if holder is not None and not alive(leader):
        return []
    pids = {process.pid for process in psutil.process_iter() if _session(process.pid) == leader.pid}
    if holder is not None:
        pids.add(leader.pid)
    for pid in tuple(pids):
        pids.update(_descendants(pid))
    return _identities(pids)


def of_home(home: Path, part: str | None = None) -> list[ProcessIdentity]:
    """Every process marked as a part of `home` (or as that one part), with its descendants.

    The caller and its ancestors are left out.

    A program that overwrites its environment for its title (PostgreSQL's backends, Ray's workers) shows no mark:
    the descent from a marked process and `members` find those.
    """
    pids: set[int] = set()
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:  # another user's, a zombie, or gone while we looked
            continue
        marked = environment.get(HOME_MARKER) == str(home)
        if marked and part in (None, environment.get(PART_MARKER)):
            pids.add(process.pid)
            pids.update(_descendants(process.pid))
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return _identities(pids - own)


def stop_processes(targets: Iterable[ProcessIdentity], grace_s: float) -> list[ProcessIdentity]:
    """SIGTERM, then SIGKILL after `grace_s` seconds. Returns what is alive even so (nothing, as a rule)."""
    remaining = wait_gone(send(targets, signal.SIGTERM), grace_s)
    if remaining:
        remaining = wait_gone(send(remaining, signal.SIGKILL), 2.0)
    return remaining


def send(targets: Iterable[ProcessIdentity], number: signal.Signals) -> list[ProcessIdentity]:
    """Send the signal to the living among the targets and return them."""
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


def wait_gone(targets: Iterable[ProcessIdentity], seconds: float) -> list[ProcessIdentity]:
    """Wait until all have ended, at most `seconds`. Returns those still alive."""
    deadline = time.monotonic() + seconds
    remaining = [target for target in targets if alive(target)]
    while remaining and time.monotonic() < deadline:
        time.sleep(0.05)
        remaining = [target for target in remaining if alive(target)]
    return remaining


def lower_priority(pid: int, niceness: int) -> None:
    """Make the leader of a session nice, and its session too (1 to 19).

    Linux with autogroups (sched(7)) shares the cores out between sessions first: a process that is nice in a session
    of its own would give way to nobody.
    """
    os.setpriority(os.PRIO_PROCESS, pid, niceness)
    with contextlib.suppress(OSError):  # a kernel without autogroups
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def memory_bytes(processes: Iterable[ProcessIdentity]) -> int:
    """Resident memory of the processes together; pages that several share count once (PSS) where Linux tells."""
    total = 0
    for identity in processes:
        try:
            info = psutil.Process(identity.pid).memory_full_info()
        except psutil.Error:
            continue
        total += getattr(info, "pss", 0) or info.rss
    return total


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _descendants(pid: int) -> set[int]:
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _identities(pids: Iterable[int]) -> list[ProcessIdentity]:
    found = (identify(pid) for pid in sorted(pids))
    return [identity for identity in found if identity is not None]
