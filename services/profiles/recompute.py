"""Recompute portraits from the event log: all users, those named, or those touched since a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine

from services.core.clock import utc_now
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.db.consent import without_consent
from services.db.pending import Reason, enqueue, enqueue_holders, enqueue_moved, enqueue_of_other_reference
from services.db.profiles import (
    erase_profiles,
    prune_profiles,
    users_touched_since,
    users_with_signals,
    users_without_signals,
    write_profiles,
)
from services.db.session import transaction
from services.db.tail_log import BEGINNING, changed_items, release_from_quarantine
from services.db.user_states import (
    current_snapshot,
    delete_states,
    load_states,
    read_visible,
    write_read_outs,
    write_states,
)
from services.features.portrait import Portrait
from services.profiles.catalogue import Catalogue
from services.profiles.catalogue_follower import ITEMS_AT_ONCE
from services.profiles.chunk import ChunkProfiles, Taste, compute_chunk, compute_taste
from services.profiles.config import ProfileConfig
from services.profiles.drift import Drift
from services.profiles.events import COLUMNS, SEQUENCE, EventBatch, build_batch
from services.profiles.fold import fold_batch
from services.profiles.near import Neighbours, pack_neighbours
from services.profiles.neighbours import find_neighbours
from services.profiles.pool import PoolSource, computed_pool, stored_pool
from services.profiles.read_out import ReadOut, portraits_of
from services.profiles.reading import catalogue_of, catalogue_of_items, chunked, read_batch, whole_catalogue
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference
from services.profiles.state import UserStates, no_states
from services.profiles.state_codec import decode, encode, unreadable_users
from services.profiles.tables import MOMENT, feature_tables

MICROSECOND = timedelta(microseconds=1)
AHEAD = timedelta(days=1)

log = get_logger("profiles")


class PortraitWriter(Protocol):
    """The online store, as far as the recompute needs it (`services.features.online.OnlineWriter`)."""

    def write_portraits(self, portraits: Sequence[Portrait]) -> None: ...

    def delete_portraits(self, user_ids: Sequence[str]) -> None: ...


@dataclass
class RecomputeReport:
    """What a recompute did: `seconds` by step, `erased` portraits of users who refused or are gone; `drift` of the
    states that updates had kept; `store_failed`: the online store did, and the tail publishes what it did not take."""

    users: int = 0
    events: int = 0
    erased: int = 0
    pruned: int = 0
    reference_version: int = 0
    store_failed: bool = False
    drift: Drift = field(default_factory=Drift)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-serialisable object, seconds rounded to milliseconds and with their `total`."""
        seconds = {step: round(value, 3) for step, value in self.seconds.items()}
        return asdict(self) | {"seconds": seconds | {"total": round(sum(self.seconds.values()), 3)}}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the block's time to a step."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - started


def recompute_profiles(
    engine: Engine,
    writer: PortraitWriter | None,
    *,
    user_ids: Iterable[str] | None = None,
    since: datetime | None = None,
    as_of: datetime,
    progress: Callable[[float], None] | None = None,
    config: ProfileConfig | None = None,
    keep_states: bool = False,
    from_states: bool = False,
    prune: bool = True,
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

    `writer` may be None: the feature tables alone, as for the past. `progress` is called with the share done.
    """
    run = _Run(engine, writer, as_of, config or ProfileConfig(), keep_states, from_states)
    with run.report.timed("plan"), transaction(engine) as connection:
        wanted = _wanted(connection, user_ids, since)
        users = run.plan(connection, wanted)
        source, catalogue = run.sources(connection, users, wanted is not None)
    total, done = max(pc.sum(users.column("events")).as_py() or 0, 1), 0
    for ids, events in chunked(users, run.config):
        run.chunk(ids, source, catalogue)
        done += events
        if progress is not None:
            progress(done / total)
    run.follow_catalogue()
    with transaction(engine) as connection:
        run.erase_departed(connection, wanted)
    if prune:
        with run.report.timed("prune"), transaction(engine) as connection:
            run.report.pruned = prune_profiles(connection, as_of - timedelta(seconds=run.config.retention))
    return run.report


def _wanted(connection: Connection, user_ids: Iterable[str] | None, since: datetime | None) -> set[str] | None:
    """The users asked for; None for all."""
    if user_ids is None and since is None:
        return None
    touched = [] if since is None else users_touched_since(connection, since)
    return {*(user_ids or ()), *touched}


class _Run:
    """One recompute: its fixed inputs and its report."""

    def __init__(
        self,
        engine: Engine,
        writer: PortraitWriter | None,
        as_of: datetime,
        config: ProfileConfig,
        keep_states: bool,
        from_states: bool,
    ) -> None:
        self.engine, self.writer, self.as_of, self.config = engine, writer, as_of, config
        self.keep_states, self.from_states = keep_states, keep_states and from_states
        # The readers' `until` is exclusive. States are after all events, those dated a little ahead as well.
        self.until = as_of + (AHEAD if keep_states else MICROSECOND)
        self.reference = ReferenceStatistics.defaults()
        self.departed: set[str] = set()
        self.began = BEGINNING
        self.report = RecomputeReport()

    def plan(self, connection: Connection, wanted: set[str] | None) -> pa.Table:
        """Erase whom it must, and return `user_id`, `events`, `lot` of the users to compute."""
        self.began = current_snapshot(connection)
        self.reference = load_reference(connection)
        self.report.reference_version = self.reference.version
        self.erase_departed(connection, wanted)
        users = users_with_signals(connection, self.until, wanted)
        return users.filter(
            pc.invert(pc.is_in(users["user_id"], value_set=pa.array(sorted(self.departed), pa.string())))
        )

    def erase_departed(self, connection: Connection, wanted: set[str] | None) -> None:
        """Erase who refused, or of whom no signal is left; once more when the run is over, as its chunks may have
        written portraits of users who left meanwhile."""
        departed = without_consent(connection, wanted) | set(users_without_signals(connection, wanted))
        self._erase(connection, sorted(departed - self.departed))
        self.departed |= departed

    def sources(self, connection: Connection, users: pa.Table, partial: bool) -> tuple[PoolSource, Catalogue | None]:
        """Where neighbours come from, and the whole catalogue for a full recompute."""
        if partial:
            return stored_pool(connection, self.reference, self.config, self.until), None
        catalogue = whole_catalogue(connection, self.reference)
        drawn = users.take(pc.sort_indices(users["lot"])[: self.config.pool_users])
        return computed_pool(self._tastes(connection, drawn, catalogue), catalogue, self.config), catalogue

    def chunk(self, user_ids: list[str], source: PoolSource, whole: Catalogue | None) -> None:
        """Compute and write the portraits of some users."""
        if self.from_states:
            user_ids = self._read_out_kept(user_ids, source, whole)
        if user_ids:
            self._from_events(user_ids, source, whole)

    def follow_catalogue(self) -> None:
        """Have those rebuilt who hold an item that changed while the run went on: the tail may have made their
        portraits of the item as it is now, and the run after that of the item as it was."""
        if not self.keep_states:
            return
        with transaction(self.engine) as connection:
            changed = changed_items(connection, self.began, current_snapshot(connection))
        for start in range(0, len(changed), ITEMS_AT_ONCE):
            with transaction(self.engine) as connection:
                enqueue_holders(connection, changed[start : start + ITEMS_AT_ONCE])

    def _read_out_kept(self, user_ids: list[str], source: PoolSource, whole: Catalogue | None) -> list[str]:
        """Portraits of those whose state is kept; who is left. A state that an update brings further meanwhile keeps
        that update's portrait."""
        timed = self.report.timed
        with transaction(self.engine) as connection:
            with timed("read"):
                kept = self._usable(load_states(connection, user_ids, lock=False))
                if not kept.num_rows:
                    return user_ids
                states = decode(kept, readable=True)
                items = states.item_ids.to_pylist()
                catalogue = catalogue_of_items(connection, items, self.reference) if whole is None else whole
            as_of = self._moment(kept)
            with timed("compute"):
                parts = compute_chunk(states, catalogue, self.reference, as_of.timestamp(), self.config)
            near, made = self._portraits(connection, states, parts, catalogue, source, as_of)
            with timed("write"):
                snapshots = kept.column("snapshot").take(pc.index_in(states.user_ids, kept.column("user_id")))
                stored = write_read_outs(connection, _read_out_table(states, snapshots, made, near, as_of))
                self._leave(connection, states.user_ids.to_pylist(), stored)
        self._publish(made.portraits, as_of, stored)
        self.report.users += states.users
        self.report.events += int(states.totals["events"].sum())
        found = set(states.user_ids.to_pylist())
        return [user for user in user_ids if user not in found]

    def _from_events(self, user_ids: list[str], source: PoolSource, whole: Catalogue | None) -> None:
        """Portraits from all events of the users.

        Nobody waits for the computation: states are locked while they are written alone, and one that an update has
        brought further meanwhile stays.
        """
        timed = self.report.timed
        with transaction(self.engine) as connection:
            with timed("read"):
                kept = load_states(connection, user_ids, lock=False) if self.keep_states else None
                snapshot = current_snapshot(connection)
                events, catalogue = self._events(connection, user_ids, snapshot, whole)
            as_of = self._moment(kept)
            with timed("compute"):
                states = fold_batch(no_states(), events, catalogue, self.reference, self.config)
                parts = compute_chunk(states, catalogue, self.reference, as_of.timestamp(), self.config)
            near, made = self._portraits(connection, states, parts, catalogue, source, as_of)
            stored = None
            with timed("write"):
                if kept is not None:
                    self._compare(kept, states)
                    stored = write_states(
                        connection,
                        _state_table(states, made, near, self.reference.version, as_of),
                        snapshot,
                        neighbours=True,
                    )
                    self._leave(connection, states.user_ids.to_pylist(), stored)
                    release_from_quarantine(connection, user_ids)  # of these, the events were computed without an error
        self._publish(made.portraits, as_of, stored)
        self.report.users += events.users
        self.report.events += events.count

    def _portraits(
        self,
        connection: Connection,
        states: UserStates,
        parts: ChunkProfiles,
        catalogue: Catalogue,
        source: PoolSource,
        as_of: datetime,
    ) -> tuple[list[Neighbours], ReadOut]:
        """The users' neighbours and portraits, which are written to the feature tables."""
        timed = self.report.timed
        with timed("neighbours"):
            likes_of = partial(source.likes, connection)
            near = find_neighbours(states, parts.taste, catalogue.space, source.pool, likes_of, self.config)
        with timed("assemble"):
            made = portraits_of(states, parts, near, catalogue, as_of.timestamp(), self.config)
            tables = feature_tables(made.portraits, made.packed, made.behaviour, as_of)
        with timed("write"):
            write_profiles(connection, tables, as_of)
        return near, made

    def _events(
        self, connection: Connection, user_ids: list[str], snapshot: str, whole: Catalogue | None
    ) -> tuple[EventBatch, Catalogue]:
        """The users' events: all that the snapshot shows where states are kept, else those before `until`."""
        if not self.keep_states:
            return read_batch(connection, user_ids, self.until, whole, self.reference)
        table = read_visible(connection, user_ids, snapshot, (*COLUMNS, SEQUENCE))
        catalogue = catalogue_of(connection, table, self.reference) if whole is None else whole
        return build_batch(table, catalogue), catalogue

    def _moment(self, kept: pa.Table | None) -> datetime:
        """As of when the portraits of a chunk are: later than any that its users have, whatever the clock says."""
        if kept is None:
            return self.as_of
        newest = pc.max(kept.column("as_of")).as_py()
        now = utc_now()
        return now if newest is None else max(now, newest.astimezone(UTC) + MICROSECOND)

    def _compare(self, kept: pa.Table, fresh: UserStates) -> None:
        """Count how far the kept states have drifted; those of another reference version are no comparison."""
        drifted = self.report.drift.add(decode(self._usable(kept), readable=True), fresh, self.config)
        if drifted:
            log.warning("profile-drift", users=len(drifted), largest=self.report.drift.largest)

    def _usable(self, kept: pa.Table) -> pa.Table:
        """The kept states that can be read and refer to the reference in force."""
        kept = kept.filter(pc.equal(kept.column("reference_version"), self.reference.version))
        damaged = pa.array(unreadable_users(kept), pa.string())
        return kept.filter(pc.invert(pc.is_in(kept.column("user_id"), value_set=damaged)))

    def _publish(self, portraits: list[Portrait], as_of: datetime, stored: set[str] | None) -> None:
        """Write online the portraits that were `stored` (None: all). One that was not is older than its user's state,
        whose own portrait may be as of an earlier time and would not replace it. Where an update came between commit
        and write, it is to be published again."""
        if self.writer is None:
            return
        if stored is not None:
            portraits = [portrait for portrait in portraits if portrait.user_id in stored]
        users = [portrait.user_id for portrait in portraits]
        with self.report.timed("online"):
            if not self.keep_states:
                self.writer.write_portraits(portraits)
                return
            written = self._written(portraits)
            with transaction(self.engine) as connection:
                if written:
                    enqueue_moved(connection, users, as_of)
                else:
                    enqueue(connection, users, Reason.PUBLISH)
                enqueue(connection, without_consent(connection, users), Reason.REBUILD)

    def _written(self, portraits: list[Portrait]) -> bool:
        """Whether the online store took them. Once it has not, the rest of the run is left to the tail, which publishes
        what waits when the store is back."""
        if not self.report.store_failed:
            try:
                self.writer.write_portraits(portraits)
            except DependencyDown as error:
                self.report.store_failed = True
                log.warning("online-store-down", detail=error.detail)
        return not self.report.store_failed

    def _leave(self, connection: Connection, users: Iterable[str], stored: set[str]) -> None:
        """Users whose state an update has brought further keep that, unless it began before the reference in force."""
        left = set(users) - stored
        if left:
            enqueue_of_other_reference(connection, left, self.reference.version)

    def _tastes(
        self, connection: Connection, users: pa.Table, catalogue: Catalogue
    ) -> Iterator[tuple[UserStates, Taste]]:
        for ids, _ in chunked(users, self.config):
            events, _ = read_batch(connection, ids, self.until, catalogue)
            states = fold_batch(no_states(), events, catalogue, self.reference, self.config)
            yield states, compute_taste(states, catalogue, self.config)

    def _erase(self, connection: Connection, user_ids: list[str]) -> None:
        """Online first: were only the tables' rows gone, no later run would know of the portrait left online."""
        if not user_ids:
            return
        if self.writer is not None:
            self.writer.delete_portraits(user_ids)
        self.report.erased += erase_profiles(connection, user_ids)
        delete_states(connection, user_ids)


def _state_table(
    states: UserStates, made: ReadOut, near: Sequence[Neighbours], version: int, as_of: datetime
) -> pa.Table:
    """Rows of the table `user_states`."""
    return pa.table(
        {
            "user_id": states.user_ids,
            **encode(states),
            "neighbours": pack_neighbours(near),
            "packed": pa.array(made.packed, pa.binary()),
            "reference_version": pa.array([version] * states.users, pa.int32()),
            "as_of": pa.array([as_of] * states.users, MOMENT),
        }
    )


def _read_out_table(
    states: UserStates, snapshots: pa.ChunkedArray, made: ReadOut, near: Sequence[Neighbours], as_of: datetime
) -> pa.Table:
    """Rows for `write_read_outs`; `snapshots` (U,) are those of the states."""
    return pa.table(
        {
            "user_id": states.user_ids,
            "snapshot": snapshots,
            "packed": pa.array(made.packed, pa.binary()),
            "neighbours": pack_neighbours(near),
            "as_of": pa.array([as_of] * states.users, MOMENT),
        }
    )
