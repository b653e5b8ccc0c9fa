"""A recompute of everybody, shared: its chunks are parts that any number of processes, on any hosts, take one by one.

The process that runs the job stores the parts and calls for help; whoever hears it takes parts until there is none.
A part is taken by one process at a time and is done when its portraits are stored and online, so a process that dies
costs the part that it was at. If it was the job's own, the parts that are left are gone on with when the job is
delivered again.
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine

from services.db import recompute_runs
from services.db.recompute_runs import SharedRun, find_run, standing, taken_part
from services.db.session import transaction
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.pool import PoolSource
from services.profiles.portrait_maker import PackedWriter
from services.profiles.reading import chunked
from services.profiles.recompute_chunk import ChunkRecompute
from services.profiles.recompute_report import RecomputeReport
from services.profiles.reference_store import load_reference

SHARED_FROM = 2
"""Shops of more users than so many pools share: a helper first computes the pool for itself."""

LOOK_AGAIN_S, CALL_AGAIN_S = 0.5, 30.0


@dataclass(frozen=True)
class Help:
    """How others hear of a run: `name` of the work, which they and a later process know it by, and the `call`, with the
    run's id."""

    name: str
    call: Callable[[UUID], None]


@dataclass(frozen=True)
class Sharing:
    """A run that is shared, as the process sees it that began it or goes on with it."""

    chunks: ChunkRecompute
    help: Help
    run: SharedRun

    @classmethod
    def going_on(cls, connection: Connection, chunks: ChunkRecompute, help_: Help) -> "Sharing | None":
        """With the run of this name that was cut short, as of its time."""
        version = chunks.reference.version
        run = recompute_runs.run_to_go_on_with(connection, help_.name, version, chunks.from_states)
        if run is None:
            return None
        chunks.as_of = run.as_of
        return cls(chunks, help_, run)

    @classmethod
    def begun(
        cls, connection: Connection, chunks: ChunkRecompute, help_: Help, users: pa.Table, began: str
    ) -> "Sharing | None":
        """A new run over `users` (`user_id`, `events`, `lot`); None where they are too few to share."""
        if users.num_rows <= SHARED_FROM * chunks.config.pool_users:
            return None
        drawn = pool_of(users, chunks.config)
        run = SharedRun(
            uuid4(),
            chunks.as_of,
            chunks.from_states,
            chunks.reference.version,
            began,
            drawn.column("user_id").to_pylist(),
            drawn.column("events").to_pylist(),
        )
        recompute_runs.begin_run(connection, help_.name, run, list(chunked(users, chunks.config)))
        return cls(chunks, help_, run)

    def call(self) -> None:
        """Let others know."""
        self.help.call(self.run.run_id)

    def see_through(self, source: PoolSource, catalogue: Catalogue | None, progress: Callable[[float], None]) -> None:
        """Take parts, and what others leave, until all are done; their reports are added to this process's."""
        report, engine, run_id = self.chunks.report, self.chunks.engine, self.run.run_id
        mine = replace(self.chunks, report=RecomputeReport())
        called = time.monotonic()

        def told() -> bool:
            nonlocal called
            with transaction(engine) as connection:
                now = standing(connection, run_id)
            progress(now.done / max(now.events, 1))
            if time.monotonic() - called > CALL_AGAIN_S:  # who had another job to do may be free by now
                called = time.monotonic()
                self.call()
            return now.open_parts > 0

        try:
            while told():
                if not _take_parts(mine, run_id, source, catalogue, told):
                    time.sleep(LOOK_AGAIN_S)  # others are at the last ones
        except Exception:
            with transaction(engine) as connection:
                recompute_runs.end_run(connection, run_id)
            raise
        with transaction(engine) as connection:
            done = recompute_runs.reports(connection, run_id)
            recompute_runs.end_run(connection, run_id)
        for part in done:
            report.add(part)
        report.processes = len({part["process"] for part in done})


def help_with(
    engine: Engine,
    writer: PackedWriter | None,
    run_id: UUID,
    *,
    call: Callable[[UUID], None],
    go_on: Callable[[], bool],
    config: ProfileConfig,
) -> int:
    """Take parts of somebody else's run while there are some and `go_on` says so; how many.

    None where less is left to do than computing the pool of neighbours takes, or the run weighs events by another
    reference than is in force. Otherwise the first thing is to `call` the next process.
    """
    with transaction(engine) as connection:
        run, now = find_run(connection, run_id), standing(connection, run_id)
        reference = load_reference(connection)
    if run is None or run.reference_version != reference.version or now.events - now.done <= sum(run.pool_events):
        return 0
    call(run_id)
    chunks = ChunkRecompute(engine, writer, run.as_of, reference, config, True, run.from_states)
    with transaction(engine) as connection:
        source, catalogue = chunks.everybodys(connection, pool_users(run))
    return _take_parts(chunks, run_id, source, catalogue, go_on)


def pool_of(users: pa.Table, config: ProfileConfig) -> pa.Table:
    """The users (of `user_id`, `events`, `lot`) among whom neighbours are looked for: the same each time."""
    return users.take(pc.sort_indices(users["lot"])[: config.pool_users])


def pool_users(run: SharedRun) -> pa.Table:
    """`user_id` and `events` of those whom a run has drawn (`pool_of`)."""
    return pa.table({"user_id": pa.array(run.pool_users, pa.string()), "events": pa.array(run.pool_events, pa.int64())})


def _take_parts(
    chunks: ChunkRecompute,
    run_id: UUID,
    source: PoolSource,
    catalogue: Catalogue | None,
    go_on: Callable[[], bool],
) -> int:
    """Compute parts that nobody has taken while there are some and `go_on` says so; how many."""
    taken = 0
    while go_on():
        with taken_part(chunks.engine, run_id) as part:
            if part is None:
                break
            chunks.report = RecomputeReport(store_failed=chunks.report.store_failed)
            chunks.chunk(part.user_ids, source, catalogue)
            part.report = {**chunks.report.as_dict(), "process": f"{socket.gethostname()}:{os.getpid()}"}
        taken += 1
    return taken
