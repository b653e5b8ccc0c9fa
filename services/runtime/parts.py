"""Every process of the stack beside the two servers, in one table: what runs, when, and how it is stopped."""

import importlib.util
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from services.core.paths import HomePaths
from services.core.ready import READY_FILE_VARIABLE
from services.core.settings import Settings
from services.runtime.processes import HOME_MARKER, PART_MARKER


class PartKind(StrEnum):
    SERVER = "server"
    """Embedded PostgreSQL or Valkey: outlives a killed launcher and is adopted."""
    STEP = "step"
    """Runs to its end before the services start; its failure stops the start."""
    SERVICE = "service"
    """Runs for good and is restarted when it ends."""


class Readiness(StrEnum):
    ALIVE = "alive"
    TOLD = "told"
    """The part says so: it calls `services.core.ready.tell_ready`."""
    HTTP = "http"
    """`GET /readyz` on the gateway's port answers 200."""


Escalation = tuple[tuple[signal.Signals, float], ...]
"""Signals to send in turn, each with the seconds to wait for the end before the next."""

TERMINATE: Escalation = ((signal.SIGTERM, 6.0),)
CELERY: Escalation = ((signal.SIGTERM, 3.0), (signal.SIGQUIT, 3.0))
"""Warm shutdown lets running tasks end; then cold shutdown gives unfinished tasks back to the broker."""

PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait give the core away: spinning ones made encoding 20 times slower beside other work on two cores."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
"""For processes that work in parallel on their own: BLAS threads would only fight over the cores."""

ONE_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:500,muzzy_decay_ms:0",
}
"""For processes that run for weeks: glibc keeps an arena a thread, and what each once needed it keeps; Arrow's own pool
keeps what other threads have freed. All in few arenas of glibc, `services.core.memory.give_back` can return it. Polars
has jemalloc in it, which by default only offers freed pages to the system: they count until it takes them."""


@dataclass(frozen=True)
class Part:
    """One process. `arguments` follow the Python interpreter; `{home}` in them is the home's path."""

    name: str
    kind: PartKind
    arguments: tuple[str, ...]
    module: str
    """The part exists when this module does."""
    environment: Mapping[str, str] = field(default_factory=dict)
    readiness: Readiness = Readiness.ALIVE
    stop: Escalation = TERMINATE
    niceness: int = 0
    """Above 0 for background work: requests come first where cores are few."""
    depends_on: tuple[str, ...] = ()
    """For a step: the packages whose sources decide its outcome. While they are the same it is not run again on the
    embedded database; empty for a step that runs at every start."""

    @property
    def serves_http(self) -> bool:
        return self.readiness is Readiness.HTTP

    @property
    def exists(self) -> bool:
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False

    def command(self, home: Path) -> list[str]:
        """The command line. `-P` keeps the current folder off the import path."""
        return [sys.executable, "-P", *(argument.format(home=home) for argument in self.arguments)]


QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
"""Workers that tell each other nothing: who died is known from leases and jobs. Each would tell all others every two
seconds that it lives."""

LIVE_MODULES = "services.workers.live,services.workers.live_items"
"""One child tails the event log, the other keeps item engagement: what they import, their parent has imported."""


def _worker(queue: str, niceness: int, *options: str, environment: Mapping[str, str] | None = None) -> Part:
    arguments = ("-m", "celery", "-A", "services.workers.app", "worker", "-Q", queue, "-n", f"{queue}@portrait")
    return Part(
        name=f"worker-{queue}",
        kind=PartKind.SERVICE,
        arguments=(*arguments, "--loglevel", "INFO", *QUIET, *options),
        module="services.workers.app",
        environment={**ONE_ALLOCATOR, **(environment or {})},
        readiness=Readiness.TOLD,
        stop=CELERY,
        niceness=niceness,
    )


PARTS: tuple[Part, ...] = (
    Part("migrations", PartKind.STEP, ("-m", "services.db.migrate"), "services.db.migrate"),
    Part(
        "features",
        PartKind.STEP,
        ("-m", "services.cli.main", "features", "apply"),
        "services.cli.features",
        depends_on=("feature_repo", "services.features", "services.db", "services.core"),
    ),
    _worker("gpu", 15, "--concurrency", "1", "--prefetch-multiplier", "1", environment=PATIENT),
    _worker("cpu", 15, "--prefetch-multiplier", "1", environment=PATIENT),
    _worker("live", 0, "--concurrency", "2", "--include", LIVE_MODULES, environment=ONE_THREAD),
    _worker("io", 10, "--concurrency", "2", environment=ONE_THREAD),
    Part(
        "beat",
        PartKind.SERVICE,
        ("-m", "celery", "-A", "services.workers.app", "beat", "--schedule", "{home}/run/beat", "--pidfile="),
        "services.workers.app",
        environment=ONE_THREAD,
        readiness=Readiness.TOLD,
    ),
    Part(
        "gateway",
        PartKind.SERVICE,
        ("-m", "services.serve.main"),
        "services.serve.main",
        environment=ONE_THREAD,
        readiness=Readiness.HTTP,
    ),
)


def ready_file(part: Part, home: Path) -> Path:
    """The file a part makes when it is ready."""
    return HomePaths(home).run / f"{part.name}.ready"


def environment_of(part: Part, settings: Settings, port: int) -> dict[str, str]:
    """The part's whole environment: the caller's, the settled settings, its own, and the marks of this home."""
    urls = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url, "BROKER_URL": settings.broker_url}
    configured = {f"PORTRAIT_{name}": url.get_secret_value() for name, url in urls.items() if url is not None}
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        **part.environment,
        **configured,
        "PORTRAIT_HOME": str(settings.home),
        "PORTRAIT_BIND": settings.bind,
        "PORTRAIT_PORT": str(port),
        READY_FILE_VARIABLE: str(ready_file(part, settings.home)),
        HOME_MARKER: str(settings.home),
        PART_MARKER: part.name,
    }
