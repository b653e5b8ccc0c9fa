"""Portraits of a chunk of users, computed and written: what each process of a recompute does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine

from services.core.clock import utc_now
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.db.consent import without_consent
from services.db.pending import Reason, enqueue, enqueue_moved, enqueue_of_other_reference
from services.db.profiles import write_profiles
from services.db.session import transaction
from services.db.tail_log import release_from_quarantine
from services.db.user_states import (
    current_snapshot,
    load_states,
    read_visible,
    write_read_outs,
    write_states,
)
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles, compute_chunk
from services.profiles.config import ProfileConfig
from services.profiles.events import COLUMNS, MOMENT, SEQUENCE, EventBatch, build_batch
from services.profiles.fold import fold_batch
from services.profiles.live_update import MICROSECOND, moment
from services.profiles.near import Neighbours, pack_neighbours
from services.profiles.neighbours import find_neighbours
from services.profiles.pool import PoolSource, everybodys_pool
from services.profiles.portrait_maker import PackedWriter
from services.profiles.read_out import PackedRow, ReadOut, portraits_of
from services.profiles.reading import catalogue_of, catalogue_of_items, read_batch, whole_catalogue
from services.profiles.recompute_report import RecomputeReport
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates, no_states
from services.profiles.state_codec import decode, encode, unreadable_users
from services.profiles.tables import feature_tables

AHEAD = timedelta(days=1)

log = get_logger("profiles")


@dataclass
class ChunkRecompute:
    """How the users of a run are computed, and the report of those who were; see `recompute_profiles`."""

    engine: Engine
    writer: PackedWriter | None
    as_of: datetime
    reference: ReferenceStatistics
    config: ProfileConfig
    keep_states: bool
    from_states: bool
    report: RecomputeReport = field(default_factory=RecomputeReport)

    @property
    def until(self) -> datetime:
        """What the readers of events stop before. States are after all events, those dated a little ahead as well."""
        return self.as_of + (AHEAD if self.keep_states else MICROSECOND)

    def everybodys(self, connection: Connection, pool_users: pa.Table) -> tuple[PoolSource, Catalogue]:
        """What chunks of everybody are computed with: the pool of `pool_users` (`user_id`, `events`) and all items."""
        catalogue = whole_catalogue(connection, self.reference)
        pool = everybodys_pool(connection, pool_users, catalogue, self.until, self.reference, self.config)
        return pool, catalogue

    def chunk(self, user_ids: list[str], source: PoolSource, whole: Catalogue | None) -> None:
        """Compute and write the portraits of some users."""
        if self.from_states:
            user_ids = self._read_out_kept(user_ids, source, whole)
        if user_ids:
            self._from_events(user_ids, source, whole)

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
        self._publish(made.rows(as_of), as_of, stored)
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
        self._publish(made.rows(as_of), as_of, stored)
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
            tables = feature_tables(made.columns, made.packed, as_of)
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
        return self.as_of if kept is None else moment(kept, utc_now())

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

    def _publish(self, rows: list[PackedRow], as_of: datetime, stored: set[str] | None) -> None:
        """Write online the portraits that were `stored` (None: all). One that was not is older than its user's state,
        whose own portrait may be as of an earlier time and would not replace it. Where an update came between commit
        and write, it is to be published again."""
        if self.writer is None:
            return
        if stored is not None:
            rows = [row for row in rows if row[0] in stored]
        users = [user for user, _, _ in rows]
        with self.report.timed("online"):
            if not self.keep_states:
                self.writer.write_packed(rows)
                return
            written = self._written(rows)
            with transaction(self.engine) as connection:
                if written:
                    enqueue_moved(connection, users, as_of)
                else:
                    enqueue(connection, users, Reason.PUBLISH)
                enqueue(connection, without_consent(connection, users), Reason.REBUILD)

    def _written(self, rows: list[PackedRow]) -> bool:
        """Whether the online store took them. Once it has not, the rest of the run is left to the tail, which publishes
        what waits when the store is back."""
        if not self.report.store_failed:
            try:
                self.writer.write_packed(rows)
            except DependencyDown as error:
                self.report.store_failed = True
                log.warning("online-store-down", detail=error.detail)
        return not self.report.store_failed

    def _leave(self, connection: Connection, users: Iterable[str], stored: set[str]) -> None:
        """Users whose state an update has brought further keep that, unless it began before the reference in force."""
        left = set(users) - stored
        if left:
            enqueue_of_other_reference(connection, left, self.reference.version)


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
