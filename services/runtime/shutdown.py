"""Leaving nothing behind: parts in order, then whatever still carries the home's mark, then the servers."""

import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.core.paths import HomePaths
from services.runtime.child import Child
from services.runtime.errors import StopFailed
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.processes import ProcessIdentity, alive, members, of_home, send, stop_processes, wait_gone
from services.runtime.state import StackState, read_state
from services.runtime.valkey import EmbeddedValkey

SERVER_NAMES = (EmbeddedPostgres.name, EmbeddedValkey.name)


def stop_children(children: Sequence[Child]) -> None:
    """End all parts at once, each by its own escalation, then kill what they left in their sessions."""
    steps = max((len(child.part.stop) for child in children), default=0)
    for step in range(steps):
        asked = [child for child in children if len(child.part.stop) > step and child.exit_status is None]
        for child in asked:
            child.request_stop(child.part.stop[step][0])
        deadline = time.monotonic() + max((child.part.stop[step][1] for child in asked), default=0.0)
        while time.monotonic() < deadline and any(child.exit_status is None for child in asked):
            time.sleep(0.05)
    for child in children:
        child.sweep()


def stop_leftovers(home: Path, state: StackState | None, grace_s: float = 2.0) -> list[str]:
    """Stop the parts of a dead supervisor: what the state recorded and what carries the home's mark.

    The servers are left running (they are adopted). Returns a line for each process that was stopped.
    """
    kept = {identity.pid for identity in _servers(home)}
    found: dict[int, ProcessIdentity] = {}
    names: dict[int, str] = {}
    for part in state.parts if state else []:
        if part.identity is None or part.name in SERVER_NAMES:
            continue
        for identity in members(part.identity):
            found[identity.pid] = identity
            names[identity.pid] = part.name
    for identity in of_home(home):
        found[identity.pid] = identity
    targets = [identity for pid, identity in found.items() if pid not in kept]
    remaining = stop_processes(targets, grace_s)
    if remaining:
        raise StopFailed(f"Processes {sorted(identity.pid for identity in remaining)} of {home} do not end")
    return [f"{names.get(identity.pid, 'process')} (pid {identity.pid})" for identity in targets]


def stop_servers(home: Path) -> None:
    """Stop the embedded servers of the home, both at once."""
    paths = HomePaths(home)
    with ThreadPoolExecutor(2) as pool:
        for stopped in [pool.submit(EmbeddedPostgres(paths).stop, 6.0), pool.submit(EmbeddedValkey(paths).stop, 6.0)]:
            stopped.result()


def forget_addresses(home: Path) -> None:
    """Remove the recorded addresses: nothing listens there any more, and they may hold a password."""
    HomePaths(home).addresses.unlink(missing_ok=True)


def take_down(home: Path, grace_s: float = 10.0) -> bool:
    """`portrait down`: end the home's supervisor and everything of the home. False when nothing ran.

    The supervisor stops its parts itself; what it does not manage within `grace_s` is killed here.
    """
    state = read_state(home)
    ran = False
    if state is not None and alive(state.supervisor):
        ran = True
        if wait_gone(send([state.supervisor], signal.SIGTERM), grace_s):
            stop_processes([state.supervisor], 0.0)
    ran = bool(stop_leftovers(home, read_state(home), grace_s=1.0)) or ran
    ran = bool(_servers(home)) or ran
    stop_servers(home)
    forget_addresses(home)
    return ran


def _servers(home: Path) -> list[ProcessIdentity]:
    paths = HomePaths(home)
    found = (EmbeddedPostgres(paths).running(), EmbeddedValkey(paths).running())
    return [identity for identity in found if identity is not None]
