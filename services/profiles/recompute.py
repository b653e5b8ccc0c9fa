"""Recompute portraits from the event log: all users, those named, or those touched since a time."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine

from services.db.consent import without_consent
from services.db.pending import enqueue_holders
from services.db.profiles import (
    erase_profiles,
    prune_profiles,
    users_touched_since,
    users_with_signals,
    users_without_signals,
)
from services.db.session import transaction
from services.db.tail_log import BEGINNING, changed_items
from services.db.user_states import current_snapshot, delete_states
from services.profiles.catalogue import Catalogue
from services.profiles.catalogue_follower import ITEMS_AT_ONCE
from services.profiles.config import ProfileConfig
from services.profiles.pool import PoolSource, stored_pool
from services.profiles.portrait_maker import PackedWriter
from services.profiles.reading import chunked
from services.profiles.recompute_chunk import ChunkRecompute
from services.profiles.recompute_report import RecomputeReport
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference
from services.profiles.shared_recompute import Help, Sharing, pool_of, pool_users


def recompute_profiles(
    engine: Engine,
    writer: PackedWriter | None,
    *,
    user_ids: Iterable[str] | None = None,
    since: datetime | None = None,
    as_of: datetime,
    progress: Callable[[float], None] | None = None,
    config: ProfileConfig | None = None,
    keep_states: bool = False,
    from_states: bool = False,
    prune: bool = True,
    help_: Help | None = None,
) -> RecomputeReport:
    """Compute portraits as of `as_of` (timezone-aware) and write them to the feature tables and the online store.

    All users with events when neither is given; those of `user_ids` and those touched since `since` (by arrival)
    otherwise. Later events than `as_of` are left out. Users without events, and those who refused personalisation,
    lose their portraits in both stores. Each chunk of users is one transaction and written online after its commit,
    so an interrupted run leaves whole portraits, and running again with the same `as_of` changes nothing more. `prune`
    deletes what is older than the configuration's `retention`, of everybody.

    `keep_states` is for the present, beside live updates: the states that updates go on from are compared with what
    all events give (`RecomputeReport.drift`) and replaced; portraits are as of the moment they are made.

    `from_states` goes with it, where it is enough to bring neighbours, vectors and tables up to date: a user whose
    state is kept is read out of that, and only who has none is computed from all events.

    `help_` goes with it too: of a shop with many users, everybody's chunks are shared with the processes that hear the
    call (`services.profiles.shared_recompute`), and a run that was cut short is gone on with.

    `writer` may be None: the feature tables alone, as for the past. `progress` is called with the share done.
    """
    config = config or ProfileConfig()
    chunks = ChunkRecompute(engine, writer, as_of, ReferenceStatistics.defaults(), config, keep_states, from_states)
    run = _Run(chunks, help_)
    told = progress or (lambda _: None)
    with run.report.timed("plan"), transaction(engine) as connection:
        wanted = _wanted(connection, user_ids, since)
        run.plan(connection, wanted)
    run.compute(told)
    run.follow_catalogue()
    with transaction(engine) as connection:
        run.erase_departed(connection, wanted)
    if prune:
        with run.report.timed("prune"), transaction(engine) as connection:
            run.report.pruned = prune_profiles(connection, as_of - timedelta(seconds=config.retention))
    return run.report


def _wanted(connection: Connection, user_ids: Iterable[str] | None, since: datetime | None) -> set[str] | None:
    """The users asked for; None for all."""
    if user_ids is None and since is None:
        return None
    touched = [] if since is None else users_touched_since(connection, since)
    return {*(user_ids or ()), *touched}


class _Run:
    """One recompute: whose portraits, who is erased, and what is left for the tail to do."""

    def __init__(self, chunks: ChunkRecompute, help_: Help | None) -> None:
        self.chunks, self.help = chunks, help_
        self.engine, self.report = chunks.engine, chunks.report
        self.departed: set[str] = set()
        self.began = BEGINNING
        self.everybody = True
        self.users: pa.Table | None = None
        self.sharing: Sharing | None = None

    def plan(self, connection: Connection, wanted: set[str] | None) -> None:
        """Erase whom it must, and see who is to be computed (`user_id`, `events`, `lot`), and by whom."""
        self.began = current_snapshot(connection)
        self.everybody = wanted is None
        self.chunks.reference = load_reference(connection)
        self.report.reference_version = self.chunks.reference.version
        self.erase_departed(connection, wanted)
        if self.help is not None and self.everybody:
            self.sharing = Sharing.going_on(connection, self.chunks, self.help)
        if self.sharing is not None:
            self.began = self.sharing.run.began
            return
        users = users_with_signals(connection, self.chunks.until, wanted)
        departed = pa.array(sorted(self.departed), pa.string())
        self.users = users.filter(pc.invert(pc.is_in(users["user_id"], value_set=departed)))
        if self.help is not None and self.everybody:
            self.sharing = Sharing.begun(connection, self.chunks, self.help, self.users, self.began)

    def compute(self, progress: Callable[[float], None]) -> None:
        """The portraits of all who were planned."""
        if self.sharing is not None:
            self.sharing.call()
        with self.report.timed("plan"), transaction(self.engine) as connection:
            source, catalogue = self._sources(connection)
        if self.sharing is not None:
            self.sharing.see_through(source, catalogue, progress)
            return
        assert self.users is not None
        total, done = max(pc.sum(self.users.column("events")).as_py() or 0, 1), 0
        for ids, events in chunked(self.users, self.chunks.config):
            self.chunks.chunk(ids, source, catalogue)
            done += events
            progress(done / total)

    def follow_catalogue(self) -> None:
        """Have those rebuilt who hold an item that changed while the run went on: the tail may have made their
        portraits of the item as it is now, and the run after that of the item as it was."""
        if not self.chunks.keep_states:
            return
        with transaction(self.engine) as connection:
            changed = changed_items(connection, self.began, current_snapshot(connection))
        for start in range(0, len(changed), ITEMS_AT_ONCE):
            with transaction(self.engine) as connection:
                enqueue_holders(connection, changed[start : start + ITEMS_AT_ONCE])

    def erase_departed(self, connection: Connection, wanted: set[str] | None) -> None:
        """Erase who refused, or of whom no signal is left; once more when the run is over, as its chunks may have
        written portraits of users who left meanwhile."""
        departed = without_consent(connection, wanted) | set(users_without_signals(connection, wanted))
        self._erase(connection, sorted(departed - self.departed))
        self.departed |= departed

    def _sources(self, connection: Connection) -> tuple[PoolSource, Catalogue | None]:
        """Where neighbours come from, and the whole catalogue where everybody is computed."""
        chunks = self.chunks
        if not self.everybody:
            return stored_pool(connection, chunks.reference, chunks.config, chunks.until), None
        drawn = pool_of(self.users, chunks.config) if self.sharing is None else pool_users(self.sharing.run)
        return chunks.everybodys(connection, drawn)

    def _erase(self, connection: Connection, user_ids: list[str]) -> None:
        """Online first: were only the tables' rows gone, no later run would know of the portrait left online."""
        if not user_ids:
            return
        if self.chunks.writer is not None:
            self.chunks.writer.delete_portraits(user_ids)
        self.report.erased += erase_profiles(connection, user_ids)
        delete_states(connection, user_ids)
