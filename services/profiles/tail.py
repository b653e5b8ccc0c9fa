"""The tail: what has been committed to the event log becomes portraits, exactly once, in small transactions.

A tick reads what two snapshots differ by, adds it to the states of its users, writes the portraits online and stores
states and progress together (docs/adr/0005). Between ticks the queue of users to rebuild or publish is worked off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine

from services.core.clock import Clock, utc_now
from services.core.columns import USER_ID
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.db import pending, tail_log, user_states
from services.db.leases import Lease, advance, hold
from services.db.pending import Reason
from services.db.session import transaction
from services.db.users import without_consent
from services.profiles.config import ProfileConfig
from services.profiles.live_catalogue import CatalogueView, LiveCatalogue
from services.profiles.live_update import (
    EVENTS,
    Batch,
    compute,
    compute_apart,
    moment,
    new_events,
    seconds_since,
    to_rebuild,
)
from services.profiles.state_codec import decode
from services.profiles.tail_report import TailReport

log = get_logger("tail")

DELTA_COLUMNS = (*EVENTS, "received_at", "txid")
NOTHING = pa.table({name: pa.array([], tail_log.DELTA_TYPES[name]) for name in DELTA_COLUMNS})
ITEMS_AT_ONCE = 500
"""Changed items whose holders are looked up in one transaction."""


class PackedWriter(Protocol):
    """The online store, as far as the tail needs it (`services.features.online.OnlineWriter`)."""

    def write_packed(self, rows: Sequence[tuple[str, datetime, bytes]]) -> None: ...

    def delete_portraits(self, user_ids: Sequence[str]) -> None: ...


@dataclass(frozen=True)
class TailLimits:
    """How much one transaction takes, so that others' events never wait long. `rebuild_users` adapts to
    `rebuild_seconds`."""

    events: int = 5_000
    rebuild_users: int = 64
    most_rebuild_users: int = 2_000
    rebuild_seconds: float = 0.1
    publish_users: int = 500


@dataclass(frozen=True)
class _Delta:
    """Events that became visible in some partitions, whose leases are then advanced to `snapshot`."""

    events: pa.Table
    leases: tuple[Lease, ...]
    snapshot: str
    overflowing: Lease | None = None


@dataclass(frozen=True)
class _Changes:
    """Items whose holders are still to be rebuilt before these leases are up to the catalogue of `snapshot`."""

    items: tuple[str, ...]
    leases: tuple[Lease, ...]
    snapshot: str


class Tail:
    """The tail of the partitions in `leases`, which its caller takes and renews. Not for several threads."""

    def __init__(
        self,
        engine: Engine,
        writer: PackedWriter,
        owner: str,
        *,
        catalogue: LiveCatalogue | None = None,
        config: ProfileConfig | None = None,
        limits: TailLimits | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.engine, self.writer, self.owner = engine, writer, owner
        self.catalogue = LiveCatalogue(engine) if catalogue is None else catalogue
        self.config, self.limits, self.clock = config or ProfileConfig(), limits or TailLimits(), clock
        self.leases: tuple[Lease, ...] = ()
        self.report = TailReport()
        self.store_down = False
        self._rebuild_users = self.limits.rebuild_users
        self._changes: _Changes | None = None

    @property
    def partitions(self) -> list[int]:
        return [lease.partition for lease in self.leases]

    def own(self, leases: Sequence[Lease]) -> None:
        """Tail these partitions from now on; of those it has, what it knows already stands."""
        if {lease.partition for lease in leases} - set(self.partitions):
            self._changes = None
        self.leases = tuple(leases)
        if not all(self.catalogue.no_older_than(lease.catalogue) for lease in leases):
            self.catalogue.load()

    def step(self) -> bool:
        """One tick, and a batch of each queue. Whether there was anything to do.

        Raises:
            LeaseLost: another process has taken a partition; what was begun is rolled back.
        """
        if not self.leases:
            return False
        started = perf_counter()
        worked, waiting = self._tick()
        if waiting:
            worked |= self._rebuild() > 0
            worked |= self._publish() > 0
        worked |= self._follow_catalogue()
        if worked:
            self.report.ticks += 1
            self.report.tick_seconds += perf_counter() - started
        return worked

    def _tick(self) -> tuple[bool, bool]:
        """Whether there were new events, and whether users wait in the queue."""
        with transaction(self.engine) as connection:
            seen = tail_log.glance(connection, self.catalogue.snapshot, self.partitions)
            view = self.catalogue.view(connection, seen)
            delta = self._read(connection, seen.snapshot)
            if not delta.events.num_rows and len(delta.leases) == len(self.leases):
                self.report.lag_events = 0
                return False, seen.pending
            self.report.lag_events = delta.events.num_rows
            hold(connection, self.owner, self.leases)
            leases = delta.leases
            if delta.overflowing is not None:
                one = delta.overflowing
                tail_log.enqueue_delta(connection, [one.partition], one.snapshot, seen.snapshot)
                leases = (*leases, one)
            received = self._update(connection, delta.events, view, seen.snapshot)
            advance(connection, leases, snapshot=seen.snapshot)
        self._advanced(leases, snapshot=seen.snapshot)
        self.report.lag_events = 0
        self.report.saw(seconds_since(received, self.clock()))
        return True, seen.pending or delta.overflowing is not None

    def _read(self, connection: Connection, snapshot: str) -> _Delta:
        """What is new, up to a bound: of partitions that have come equally far together, of fewer where it is much.

        A single partition beyond the bound `overflows`: its users are rebuilt.
        """
        groups: dict[str, list[Lease]] = {}
        for lease in self.leases:
            groups.setdefault(lease.snapshot, []).append(lease)
        tables, done, left = [NOTHING], [], self.limits.events
        for old, group in groups.items():
            chosen = group
            while chosen:
                numbers = [lease.partition for lease in chosen]
                table = tail_log.read_delta(connection, numbers, old, snapshot, DELTA_COLUMNS, left + 1)
                if table.num_rows <= left:
                    break
                if len(chosen) == 1:
                    overflowing = chosen[0] if left == self.limits.events else None
                    return _Delta(pa.concat_tables(tables), tuple(done), snapshot, overflowing)
                chosen = chosen[: len(chosen) // 2]
            tables.append(table)
            done += chosen
            left -= table.num_rows
            if len(chosen) < len(group):
                break
        return _Delta(pa.concat_tables(tables), tuple(done), snapshot)

    def _update(self, connection: Connection, events: pa.Table, view: CatalogueView, snapshot: str) -> pa.ChunkedArray:
        """Add the events to their users' states. Returns when those were received that are in portraits now."""
        users = sorted(events.column(USER_ID).unique().to_pylist())
        quarantined = tail_log.quarantined(connection, users)
        refused = without_consent(connection, users)
        kept = user_states.load_states(connection, users, skip_locked=True)
        busy = self._busy(connection, users, kept)
        left_out = quarantined | refused | busy
        events = _of_users(events, left_out, invert=True)
        pending.enqueue(connection, sorted(busy - quarantined - refused), Reason.REBUILD)
        requested = pending.requested(connection, users, Reason.REBUILD)
        kept, received = _of_users(kept, left_out, invert=True), events.column("received_at")
        new = new_events(kept, events)
        again = {*to_rebuild(kept, new, view.reference.version), *(set(requested.user_ids) - left_out)}
        self._make(connection, kept, _of_users(new, again, invert=True), sorted(again), view, snapshot)
        pending.fulfil(connection, requested.only(again))
        return received

    def _busy(self, connection: Connection, users: Sequence[str], kept: pa.Table) -> set[str]:
        """Users whose state another writer holds: they are rebuilt when it has finished."""
        missing = set(users) - set(kept.column(USER_ID).to_pylist())
        return user_states.existing_states(connection, missing) if missing else set()

    def _make(
        self,
        connection: Connection,
        kept: pa.Table,
        new: pa.Table,
        again: list[str],
        view: CatalogueView,
        snapshot: str,
    ) -> None:
        """Store and publish portraits of the users of `new` events, and of those to make `again` from all events."""
        added = new.select(EVENTS)
        if again:
            added = pa.concat_tables([added, user_states.read_visible(connection, again, snapshot, EVENTS)])
        users = sorted(added.column(USER_ID).unique().to_pylist())
        gone = sorted(set(again) - set(users))
        going_on = _of_users(_of_users(kept, again, invert=True), users)
        self._erase(connection, gone)
        for table in self._computed(connection, Batch(going_on, added), kept, again, view) if users else ():
            self._store(connection, table, snapshot)
        self.report.rebuilt += len(again)
        self.report.users += len(users)

    def _computed(
        self, connection: Connection, batch: Batch, kept: pa.Table, again: list[str], view: CatalogueView
    ) -> list[pa.Table]:
        """New states and portraits; users whose events raise go into quarantine, those made `again` come out of it."""
        whole = view.catalogue is not None or not batch.kept.num_rows
        held = pa.array([], pa.string()) if whole else decode(batch.kept).item_ids
        catalogue, as_of = view.of(connection, batch.events, held), moment(kept, self.clock())
        near = kept.select([USER_ID, "neighbours"])
        tables, errors = compute_apart(
            batch, lambda part: compute(part, near, catalogue, view.reference, as_of, self.config)
        )
        for user, error in errors.items():
            tail_log.quarantine(connection, user, error)
            log.error("user-quarantined", user_id=user, error=error)
        self.report.quarantined += len(errors)
        if again:
            tail_log.release_from_quarantine(connection, [user for user in again if user not in errors])
        return tables

    def _store(self, connection: Connection, table: pa.Table, snapshot: str) -> None:
        """Write states, and the portraits online: before the commit, as they are made of committed events alone."""
        users = table.column(USER_ID).to_pylist()
        stored = user_states.write_states(connection, table, snapshot, neighbours=False)
        rows = zip(users, table.column("as_of").to_pylist(), table.column("packed").to_pylist(), strict=True)
        if stored < len(users) or not self._online(list(rows)):
            pending.enqueue(connection, users, Reason.PUBLISH)

    def _erase(self, connection: Connection, users: list[str]) -> None:
        """Users of whom nothing is left, or nothing may be kept."""
        if not users:
            return
        user_states.delete_states(connection, users)
        try:
            self.writer.delete_portraits(users)
        except DependencyDown:
            self.report.publish_failures += 1
            pending.enqueue(connection, users, Reason.PUBLISH)

    def _online(self, rows: list[tuple[str, datetime, bytes]]) -> bool:
        """Write portraits online; False if the store does not take them."""
        if self.store_down:
            return False
        try:
            self.writer.write_packed(rows)
        except DependencyDown as error:
            self.store_down = True
            self.report.publish_failures += 1
            log.warning("online-store-down", detail=error.detail)
            return False
        self.report.published += len(rows)
        return True

    def _rebuild(self) -> int:
        """Rebuild a batch of the users who wait for it, of a size that takes about `rebuild_seconds`."""
        started = perf_counter()
        with transaction(self.engine) as connection:
            taken = pending.take_pending(connection, self.partitions, Reason.REBUILD, self._rebuild_users)
            if not taken.user_ids:
                return 0
            hold(connection, self.owner, self.leases)
            seen = tail_log.glance(connection, self.catalogue.snapshot, self.partitions)
            view = self.catalogue.view(connection, seen)
            kept = user_states.load_states(connection, taken.user_ids, skip_locked=True)
            users = sorted(set(taken.user_ids) - self._busy(connection, taken.user_ids, kept))
            refused = without_consent(connection, users)
            self._erase(connection, sorted(refused))
            allowed = [user for user in users if user not in refused]
            if allowed:
                self._make(connection, kept, NOTHING, allowed, view, seen.snapshot)
            pending.fulfil(connection, taken.only(users))
        self._adapt(perf_counter() - started)
        return len(users)

    def _adapt(self, seconds: float) -> None:
        if seconds > 1.5 * self.limits.rebuild_seconds:
            self._rebuild_users = max(1, self._rebuild_users // 2)
        elif seconds < self.limits.rebuild_seconds / 2:
            self._rebuild_users = min(self.limits.most_rebuild_users, 2 * self._rebuild_users)

    def _publish(self) -> int:
        """Write the stored portraits of a batch of the users who wait for it online."""
        if self.store_down:
            return 0
        with transaction(self.engine) as connection:
            taken = pending.take_pending(connection, self.partitions, Reason.PUBLISH, self.limits.publish_users)
            if not taken.user_ids:
                return 0
            rows = user_states.load_packed(connection, taken.user_ids)
            gone = sorted(set(taken.user_ids) - {row[0] for row in rows})
            if not self._online(rows):
                return 0
            self._erase(connection, gone)
            pending.fulfil(connection, taken)
        return len(taken.user_ids)

    def _follow_catalogue(self) -> bool:
        """Have the users rebuilt who hold an item that changed up to the catalogue that counts now, some at a time.

        Those who hold it are found in the event log after the catalogue has been swapped: whoever's event was added
        before the swap is among them.
        """
        behind = [lease for lease in self.leases if lease.catalogue != self.catalogue.snapshot]
        if not behind:
            return False
        if self._changes is None:
            self._changes = self._changes_for(behind)
        changes = self._changes
        items, rest = changes.items[:ITEMS_AT_ONCE], changes.items[ITEMS_AT_ONCE:]
        with transaction(self.engine) as connection:
            hold(connection, self.owner, self.leases)
            pending.enqueue_holders(connection, items, self.partitions)
            if not rest:
                advance(connection, changes.leases, catalogue=changes.snapshot)
                tail_log.forget_catalogue_changes(connection)
        if rest:
            self._changes = replace(changes, items=rest)
        else:
            self._advanced(changes.leases, catalogue=changes.snapshot)
            self._changes = None
        return True

    def _changes_for(self, behind: Sequence[Lease]) -> "_Changes":
        target = self.catalogue.snapshot
        with transaction(self.engine) as connection:
            found = {
                item
                for old in {lease.catalogue for lease in behind}
                for item in tail_log.changed_items(connection, old, target)
            }
        return _Changes(tuple(sorted(found)), tuple(behind), target)

    def _advanced(self, leases: Sequence[Lease], *, snapshot: str | None = None, catalogue: str | None = None) -> None:
        """What is stored now of these leases, after the commit."""
        numbers = {lease.partition for lease in leases}
        changes = {name: value for name, value in (("snapshot", snapshot), ("catalogue", catalogue)) if value}
        self.leases = tuple(replace(lease, **changes) if lease.partition in numbers else lease for lease in self.leases)


def _of_users(table: pa.Table, users: Sequence[str] | set[str], *, invert: bool = False) -> pa.Table:
    chosen = pc.is_in(table.column(USER_ID), value_set=pa.array(sorted(users), pa.string()))
    return table.filter(pc.invert(chosen) if invert else chosen)
