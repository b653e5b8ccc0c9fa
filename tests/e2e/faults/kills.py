"""SIGKILL to one part of a stack, or to all of it at once."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import psutil
import psycopg

from services.core.paths import HomePaths
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.processes import ProcessIdentity, alive, identify, members, of_home, send
from services.runtime.valkey import EmbeddedValkey
from tests.e2e.faults.stack import FaultStack


class Victim(StrEnum):
    """What is killed."""

    REPLICA = "gateway replica"
    HAPROXY = "haproxy"
    GATEWAY = "gateway driver"
    RAYLET = "raylet"
    GCS = "gcs"
    LIVE_CHILD = "live worker child"
    LIVE_PARENT = "live worker parent"
    BEAT = "beat"
    VALKEY = "valkey"
    BACKEND = "postgres backend"
    POSTMASTER = "postmaster"
    EVERYTHING = "everything"


GATEWAY_VICTIMS = frozenset(
    {Victim.REPLICA, Victim.HAPROXY, Victim.GATEWAY, Victim.RAYLET, Victim.GCS, Victim.EVERYTHING}
)
"""While these come back, pages may go unanswered; while all others do, never."""

OF_GATEWAY: dict[Victim, Callable[[str], bool]] = {
    Victim.REPLICA: lambda line: line.startswith("ray::ServeReplica"),
    Victim.HAPROXY: lambda line: "haproxy" in line.split(" ", 1)[0] and " -f " in line,
    Victim.GATEWAY: lambda line: line.endswith("-m services.serve.main"),
    Victim.RAYLET: lambda line: line.split(" ", 1)[0].endswith("/raylet"),
    Victim.GCS: lambda line: line.split(" ", 1)[0].endswith("/gcs_server"),
}
"""How a process of the gateway part is told from its command line."""


@dataclass(frozen=True)
class Kill:
    """What was killed, and when on the monotonic clock."""

    victim: Victim
    at: float
    processes: tuple[str, ...]
    targets: frozenset[ProcessIdentity]


def kill(stack: FaultStack, victim: Victim, chance: random.Random) -> Kill:
    """Send SIGKILL. Fails when there is nothing of that kind to kill: the harness would prove nothing."""
    targets = _targets(stack, victim, chance)
    assert targets, f"there is no {victim.value} to kill"
    names = tuple(sorted({_line(target.pid)[:60] for target in targets}))
    at = time.monotonic()
    send(targets, signal.SIGKILL)
    return Kill(victim, at, names, frozenset(targets))


def is_back(stack: FaultStack, done: Kill) -> bool:
    """Whether nothing that was killed lives any more, and something of its kind does."""
    if done.victim is Victim.BACKEND:
        return not any(alive(target) for target in done.targets)
    try:
        now = _targets(stack, done.victim, random.Random(0))
    except psutil.Error:  # a process ended while we looked at it
        return False
    return bool(now) and not done.targets & set(now)


def restore(stack: FaultStack, victim: Victim) -> None:
    """What a person (or the machine's init) does after the whole home died: `portrait up`. Nothing for the rest."""
    if victim is Victim.EVERYTHING:
        stack.up()


def live_part(stack: FaultStack) -> str:
    """The part whose worker keeps portraits up to date."""
    return "worker-live" if stack.has("worker-live") else "worker-cpu"


def _targets(stack: FaultStack, victim: Victim, chance: random.Random) -> list[ProcessIdentity]:
    paths = HomePaths(stack.home)
    if victim in OF_GATEWAY:
        found = [p for p in stack.processes("gateway") if OF_GATEWAY[victim](_line(p.pid))]
        return found[:1] if victim is Victim.REPLICA else found
    if victim in (Victim.LIVE_CHILD, Victim.LIVE_PARENT):
        parent = stack.part(live_part(stack)).identity
        if parent is None or victim is Victim.LIVE_PARENT:
            return _some(parent)
        children = psutil.Process(parent.pid).children()
        return _some(*(identify(child.pid) for child in children))
    if victim is Victim.BEAT:
        return _some(stack.part("beat").identity)
    if victim is Victim.VALKEY:
        return _some(EmbeddedValkey(paths).running())
    if victim is Victim.POSTMASTER:
        return _some(EmbeddedPostgres(paths).running())
    if victim is Victim.BACKEND:
        pids = backends(stack)
        return _some(identify(chance.choice(pids))) if pids else []
    return everything(stack)


def backends(stack: FaultStack) -> list[int]:
    """Pids of the server's processes that work for the stack's connections."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = 'portrait' AND pid <> pg_backend_pid() ORDER BY pid"
    with psycopg.connect(stack.addresses.database_url) as connection:
        return [row[0] for row in connection.execute(query)]


def everything(stack: FaultStack) -> list[ProcessIdentity]:
    """Every process of the home: supervisor, parts with all they began, both servers with their children."""
    paths = HomePaths(stack.home)
    leaders = [stack.state().supervisor, *(part.identity for part in stack.state().parts)]
    leaders += [EmbeddedPostgres(paths).running(), EmbeddedValkey(paths).running()]
    found = {identity for leader in _some(*leaders) for identity in members(leader)}
    found |= set(of_home(stack.home))
    return [identity for identity in found if identity.pid != os.getpid()]


def _some(*identities: ProcessIdentity | None) -> list[ProcessIdentity]:
    return [identity for identity in identities if identity is not None]


def _line(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return ""


def deck(chance: random.Random, victims: Iterable[Victim] = tuple(Victim)) -> list[Victim]:
    """The victims in random order: each comes once before any comes again, so none is taken for a hopeless part."""
    shuffled = list(victims)
    chance.shuffle(shuffled)
    return shuffled
