"""The tail: what has been committed to the event log becomes portraits, exactly once, in small transactions.

A tick reads what two snapshots differ by, adds it to the states of its users, writes the portraits online and stores
states and progress together (docs/adr/0005). Between ticks the queue of users to rebuild or publish is worked off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic, perf_counter

import psycopg
import pyarrow as pa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from services.core.clock import Clock, utc_now
from services.core.columns import USER_ID
from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.db import pending, tail_log, user_states
from services.db.consent import without_consent
from services.db.leases import Lease, LeaseLost, advance, hold, holding
from services.db.pending import Reason
from services.db.session import raw, transaction
from services.db.tail_log import Snapshot
from services.profiles.catalogue_follower import CatalogueFollower
from services.profiles.config import ProfileConfig
from services.profiles.live_catalogue import CatalogueView, LiveCatalogue
from services.profiles.live_update import EVENTS, MOMENT, new_events, seconds_since, to_rebuild
from services.profiles.portrait_maker import PackedWriter, PortraitMaker, of_users
from services.profiles.tail_report import TailReport

log = get_logger("tail")

EXPECTED = (PortraitError, psycopg.Error, SQLAlchemyError)
"""Failures of a server or a lease: nothing is wrong with the events, and the same step is tried again."""

DELTA_COLUMNS = (*EVENTS, "received_at", "txid")
NOTHING = pa.table({name: pa.array([], tail_log.DELTA_TYPES[name]) for name in DELTA_COLUMNS})


@dataclass(frozen=True)
class TailLimits:
    """How much one transaction takes, so that others' events never wait long. `rebuild_users` adapts to
    `rebuild_seconds`. `state_bytes`: of stored states that are computed with at once, in ten times as much memory.
    `idle_s`: after so many seconds without a signal it is kept how far the log was read all the same, or each tick
    would read the impressions since then again."""

    events: int = 5_000
    state_bytes: int = 2 << 20
    rebuild_users: int = 64
    most_rebuild_users: int = 2_000
    rebuild_seconds: float = 0.1
    publish_users: int = 500
    idle_s: float = 30.0


@dataclass(frozen=True)
class _Delta:
    """Events that became visible in some partitions, whose leases are then advanced to `snapshot`."""

    events: pa.Table
    leases: tuple[Lease, ...]
    snapshot: str
    overflowing: Lease | None = None


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
        self.engine, self.owner, self.clock = engine, owner, clock
        self.catalogue = LiveCatalogue(engine) if catalogue is None else catalogue
        self.limits, self.report = limits or TailLimits(), TailReport()
        self.maker = PortraitMaker(writer, config or ProfileConfig(), clock, self.report)
        self.leases: tuple[Lease, ...] = ()
        self._follower = CatalogueFollower(engine, owner)
        self._rebuild_users = self.limits.rebuild_users
        self._state_bytes = 4_096.0
        self._advance_at = 0.0

    @property
    def partitions(self) -> list[int]:
        return [lease.partition for lease in self.leases]

    def own(self, leases: Sequence[Lease]) -> None:
        """Tail these partitions from now on; of those it has, what it knows already stands."""
        if {lease.partition for lease in leases} - set(self.partitions):
            self._follower.forget()
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
        worked, waiting = self._tick_safely()
        if waiting:
            worked |= self._rebuild_safely() > 0
            worked |= self._publish() > 0
        followed = self._follower.step(self.leases, self.catalogue.snapshot)
        if followed is not None:
            self.leases, worked = followed, True
        if worked:
            self.report.ticks += 1
            self.report.tick_seconds += perf_counter() - started
        return worked

    def _tick_safely(self) -> tuple[bool, bool]:
        """As `_tick`; new events that raise outside their users' computation are left to the queue, one user apart from
        the other."""
        try:
            return self._tick()
        except EXPECTED:
            raise
        except Exception:
            log.exception("tick-failed", owner=self.owner)
            self.report.failures += 1
        with transaction(self.engine) as connection:
            snapshot = user_states.current_snapshot(connection)
            hold(connection, self.owner, self.leases)
            for one in self.leases:
                tail_log.enqueue_delta(connection, [one.partition], one.snapshot, snapshot)
            advance(connection, self.leases, snapshot=snapshot)
        self.leases = tuple(replace(one, snapshot=snapshot) for one in self.leases)
        self.report.overflowed = True
        return True, True

    def _tick(self) -> tuple[bool, bool]:
        """Whether there were new events, and whether users wait in the queue."""
        with transaction(self.engine) as connection:
            groups = self._groups()
            with raw(connection).pipeline():
                glance = tail_log.glancing(connection, self.catalogue.snapshot, self.partitions)
                first = self._reading(connection, groups[0], None, self.limits.events)
            seen = glance()
            if any(not _follows(seen.snapshot, lease.snapshot) for lease in self.leases):
                self._begin_anew(connection)
            view = self.catalogue.view(connection, seen)
            delta = self._read(connection, seen.snapshot, groups, first())
            idle = not delta.events.num_rows and len(delta.leases) == len(self.leases)
            if idle and monotonic() < self._advance_at:
                self.report.caught_up()
                return False, seen.pending
            self.report.behind(delta.events.column("received_at"))
            held = delta.overflowing is not None or not delta.events.num_rows
            if held:
                hold(connection, self.owner, self.leases)
            leases = delta.leases
            if delta.overflowing is not None:
                one = delta.overflowing
                tail_log.enqueue_delta(connection, [one.partition], one.snapshot, seen.snapshot)
                leases, self.report.overflowed = (*leases, one), True
            received = self._update(connection, delta.events, view, seen.snapshot, held=held)
            advance(connection, leases, snapshot=seen.snapshot)
        self.leases = tuple(replace(one, snapshot=seen.snapshot) if one in leases else one for one in self.leases)
        self._advance_at = monotonic() + self.limits.idle_s
        self.report.caught_up()
        self.report.saw(seconds_since(received, self.clock()))
        return not idle, seen.pending or delta.overflowing is not None

    def _begin_anew(self, connection: Connection) -> None:
        """The database is a restored copy: transaction ids are lower than what the leases have seen."""
        log.warning("log-restored", owner=self.owner)
        hold(connection, self.owner, self.leases)
        tail_log.begin_anew(connection)
        connection.commit()
        raise LeaseLost("The event log was restored from a dump: its users are rebuilt")

    def _groups(self) -> list[list[Lease]]:
        """The leases of partitions that have come equally far."""
        groups: dict[str, list[Lease]] = {}
        for lease in self.leases:
            groups.setdefault(lease.snapshot, []).append(lease)
        return list(groups.values())

    def _reading(
        self, connection: Connection, leases: Sequence[Lease], new: str | None, most: int
    ) -> Callable[[], pa.Table]:
        """Ask for what is new in partitions that have come equally far, and one event more than `most`, which says that
        there is more."""
        numbers = [lease.partition for lease in leases]
        return tail_log.reading_delta(connection, numbers, leases[0].snapshot, new, DELTA_COLUMNS, most + 1)

    def _read(self, connection: Connection, snapshot: str, groups: Sequence[list[Lease]], first: pa.Table) -> _Delta:
        """What is new, up to a bound: of partitions that have come equally far (`groups`) together, of fewer where it
        is much. `first`: the answer for the first group.

        A single partition beyond the bound `overflows`: its users are rebuilt.
        """
        tables, done, left = [NOTHING], [], self.limits.events
        table: pa.Table | None = first
        for group in groups:
            chosen = group
            while True:
                if table is None:
                    table = self._reading(connection, chosen, snapshot, left)()
                if table.num_rows <= left:
                    break
                if len(chosen) == 1:
                    overflowing = chosen[0] if left == self.limits.events else None
                    return _Delta(pa.concat_tables(tables), tuple(done), snapshot, overflowing)
                chosen, table = chosen[: len(chosen) // 2], None
            tables.append(table)
            done += chosen
            left, table = left - table.num_rows, None
            if len(chosen) < len(group):
                break
        return _Delta(pa.concat_tables(tables), tuple(done), snapshot)

    def _update(
        self, connection: Connection, events: pa.Table, view: CatalogueView, snapshot: str, *, held: bool
    ) -> pa.ChunkedArray:
        """Add the events to their users' states, some users after the others where states are large. Returns when those
        were received that are in portraits now. `held`: the leases are locked already."""
        users = sorted(events.column(USER_ID).unique().to_pylist())
        received: list[pa.Array] = []
        while users:
            count = max(1, int(self.limits.state_bytes / self._state_bytes))
            some, users = users[:count], users[count:]
            theirs = of_users(events, some) if users or received else events
            received += self._update_some(connection, some, theirs, view, snapshot, held=held).chunks
            held = True
        return pa.chunked_array(received, MOMENT)

    def _update_some(
        self,
        connection: Connection,
        users: list[str],
        events: pa.Table,
        view: CatalogueView,
        snapshot: str,
        *,
        held: bool,
    ) -> pa.ChunkedArray:
        """As `_update`, of these users, whose events they are."""
        with raw(connection).pipeline():  # one round trip: each is a wait for two processes' turns on a busy machine
            check = (lambda: None) if held else holding(connection, self.owner, self.leases)
            standing = tail_log.standing(connection, users, view.reference.version)
            states = user_states.loading_states(connection, users, skip_locked=True)
        check()
        (set_apart, requested), kept = standing(), states()
        self._state_bytes = max(kept.nbytes / max(kept.num_rows, 1), 0.9 * self._state_bytes)
        busy = self._busy(connection, users, kept)
        left_out = set_apart | busy
        events = of_users(events, left_out, invert=True)
        pending.enqueue(connection, sorted(busy - set_apart), Reason.REBUILD)
        kept, received = of_users(kept, left_out, invert=True), events.column("received_at")
        new = new_events(kept, events)
        pending.enqueue(connection, _all_but(users, new, left_out), Reason.PUBLISH)
        again = {*to_rebuild(kept, new, view.reference.version), *(set(requested.user_ids) - left_out)}
        self.maker.make(connection, kept, of_users(new, again, invert=True), sorted(again), view, snapshot)
        pending.fulfil(connection, requested.only(again))
        return received

    def _busy(self, connection: Connection, users: Sequence[str], kept: pa.Table) -> set[str]:
        """Users whose state another writer holds: they are rebuilt when it has finished."""
        missing = set(users) - set(kept.column(USER_ID).to_pylist())
        return user_states.existing_states(connection, missing) if missing else set()

    def _rebuild_safely(self) -> int:
        """As `_rebuild`, of about as many users as take `rebuild_seconds`. A batch that raises outside its users'
        computation is taken again by halves, and a user who raises alone goes into quarantine."""
        started = perf_counter()
        try:
            done = self._rebuild(self._rebuild_users)
        except EXPECTED:
            raise
        except Exception as error:
            log.exception("rebuild-failed", owner=self.owner, users=self._rebuild_users)
            self.report.failures += 1
            if self._rebuild_users == 1:
                self._set_first_apart(error)
            self._rebuild_users = max(1, self._rebuild_users // 2)
            return 1
        self._adapt(perf_counter() - started)
        return done

    def _set_first_apart(self, error: Exception) -> None:
        with transaction(self.engine) as connection:
            taken = pending.take_pending(connection, self.partitions, Reason.REBUILD, 1)
            for user_id in taken.user_ids:
                tail_log.quarantine(connection, user_id, f"{type(error).__name__}: {error}"[:500])
            pending.fulfil(connection, taken)
        self.report.quarantined += 1

    def _rebuild(self, users_at_once: int) -> int:
        """Rebuild the users who wait for it the longest. Returns how many were done."""
        with transaction(self.engine) as connection:
            taken = pending.take_pending(connection, self.partitions, Reason.REBUILD, users_at_once)
            if not taken.user_ids:
                return 0
            hold(connection, self.owner, self.leases)
            seen = tail_log.glance(connection, self.catalogue.snapshot, self.partitions)
            view = self.catalogue.view(connection, seen)
            kept = user_states.load_states(connection, taken.user_ids, skip_locked=True)
            users = sorted(set(taken.user_ids) - self._busy(connection, taken.user_ids, kept))
            refused = without_consent(connection, users)
            self.maker.erase(connection, sorted(refused))
            allowed = [user for user in users if user not in refused]
            if allowed:
                self.maker.make(connection, kept, NOTHING, allowed, view, seen.snapshot)
            pending.fulfil(connection, taken.only(users))
        return len(users)

    def _adapt(self, seconds: float) -> None:
        if seconds > 1.5 * self.limits.rebuild_seconds:
            self._rebuild_users = max(1, self._rebuild_users // 2)
        elif seconds < self.limits.rebuild_seconds / 2:
            self._rebuild_users = min(self.limits.most_rebuild_users, 2 * self._rebuild_users)

    def _publish(self) -> int:
        """Write the stored portraits of a batch of the users who wait for it online."""
        if self.maker.store_down:
            return 0
        with transaction(self.engine) as connection:
            taken = pending.take_pending(connection, self.partitions, Reason.PUBLISH, self.limits.publish_users)
            if not taken.user_ids:
                return 0
            rows = user_states.load_packed(connection, taken.user_ids)
            gone = sorted(set(taken.user_ids) - {row[0] for row in rows})
            if not self.maker.publish(rows):
                return 0
            pending.enqueue(connection, gone, Reason.REBUILD)  # finds nothing and erases, under the state's lock
            pending.fulfil(connection, taken)
        return len(taken.user_ids)


def _all_but(users: Sequence[str], new: pa.Table, left_out: set[str]) -> set[str]:
    """Users of whom there is nothing new: another writer (the profiles job) has been quicker to store their state, and
    may have died before it wrote the portrait online."""
    return set(users) - left_out - set(new.column(USER_ID).unique().to_pylist())


def _follows(snapshot: str, earlier: str) -> bool:
    return Snapshot.parse(snapshot).no_older_than(Snapshot.parse(earlier))
