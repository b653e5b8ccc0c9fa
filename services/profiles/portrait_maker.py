"""From kept states and new events to stored states and portraits online: what a tick does once it knows its users."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from services.core.clock import Clock
from services.core.columns import USER_ID
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.db import pending, tail_log, user_states
from services.db.pending import Reason
from services.db.session import raw
from services.profiles.config import ProfileConfig
from services.profiles.live_catalogue import CatalogueView
from services.profiles.live_update import EVENTS, Batch, compute, compute_apart, moment
from services.profiles.state import no_states
from services.profiles.state_codec import decode
from services.profiles.tail_report import TailReport

log = get_logger("tail")


class PackedWriter(Protocol):
    """The online store, as far as those who make portraits need it (`services.features.online.OnlineWriter`)."""

    def write_packed(self, rows: Sequence[tuple[str, datetime, bytes]]) -> None: ...

    def delete_portraits(self, user_ids: Sequence[str]) -> None: ...


class PortraitMaker:
    """Makes portraits in the caller's transaction. While `store_down`, they wait in the queue to be published."""

    def __init__(self, writer: PackedWriter, config: ProfileConfig, clock: Clock, report: TailReport) -> None:
        self.writer, self._config, self._clock, self._report = writer, config, clock, report
        self.store_down = False

    def make(
        self,
        connection: Connection,
        kept: pa.Table,
        new: pa.Table,
        again: list[str],
        view: CatalogueView,
        snapshot: str,
    ) -> None:
        """Store and publish portraits of the users of `new` events, and of those to make `again` from all events.

        `kept` are the stored states, locked, of all of them who have one; those of users who are not made again can be
        read (`to_rebuild`). A user made again of whom there is no event any more is erased; one whose events raise goes
        into quarantine.
        """
        added = new.select(EVENTS)
        if again:
            added = pa.concat_tables([added, user_states.read_visible(connection, again, snapshot, EVENTS)])
        users = sorted(added.column(USER_ID).unique().to_pylist())
        self.erase(connection, sorted(set(again) - set(users)))
        if users:
            going_on = of_users(of_users(kept, again, invert=True), users)
            states = decode(going_on, readable=True) if going_on.num_rows else no_states()
            batch = Batch(states, added)
            for table in self._computed(connection, batch, kept, again, view):
                self._store(connection, table, snapshot)
        self._report.rebuilt += len(again)
        self._report.users += len(users)

    def erase(self, connection: Connection, users: list[str]) -> None:
        """Users of whom nothing is left, or nothing may be kept."""
        if not users:
            return
        user_states.delete_states(connection, users)
        tail_log.release_from_quarantine(connection, users)
        try:
            self.writer.delete_portraits(users)
        except DependencyDown as error:
            self._failed(error)
            pending.enqueue(connection, users, Reason.PUBLISH)

    def publish(self, rows: list[tuple[str, datetime, bytes]]) -> bool:
        """Write packed portraits online; False if the store does not take them."""
        if self.store_down:
            return False
        try:
            self.writer.write_packed(rows)
        except DependencyDown as error:
            self._failed(error)
            return False
        self._report.published += len(rows)
        return True

    def _failed(self, error: DependencyDown) -> None:
        self.store_down = True
        self._report.publish_failures += 1
        log.warning("online-store-down", detail=error.detail)

    def _computed(
        self, connection: Connection, batch: Batch, kept: pa.Table, again: list[str], view: CatalogueView
    ) -> list[pa.Table]:
        """New states and portraits; users whose events raise go into quarantine, those made `again` come out of it."""
        catalogue = view.of(connection, batch.events, batch.states.item_ids)
        as_of = moment(kept, self._clock())
        near = kept.select([USER_ID, "neighbours"])
        tables, errors = compute_apart(
            batch, lambda part: compute(part, near, catalogue, view.reference, as_of, self._config)
        )
        for user, error in errors.items():
            tail_log.quarantine(connection, user, error)
            log.error("user-quarantined", user_id=user, error=error)
        self._report.quarantined += len(errors)
        if again:
            tail_log.release_from_quarantine(connection, [user for user in again if user not in errors])
        return tables

    def _store(self, connection: Connection, table: pa.Table, snapshot: str) -> None:
        """Write states, and meanwhile the portraits online: before the commit, as they are made of committed events
        alone.

        Where another writer was quicker to store a later state, this portrait may be online as of a later time than
        that state's, which the online store would refuse: its user is made again.
        """
        users = table.column(USER_ID).to_pylist()
        rows = zip(users, table.column("as_of").to_pylist(), table.column("packed").to_pylist(), strict=True)
        with raw(connection).pipeline():
            stored = user_states.writing_states(connection, table, snapshot)
            published = self.publish(list(rows))
        pending.enqueue(connection, set(users) - stored(), Reason.REBUILD)
        if not published:
            pending.enqueue(connection, users, Reason.PUBLISH)


def of_users(table: pa.Table, users: Sequence[str] | set[str], *, invert: bool = False) -> pa.Table:
    """The rows of some users, or (`invert`) of all others."""
    if invert and not users:
        return table
    chosen = pc.is_in(table.column(USER_ID), value_set=pa.array(sorted(users), pa.string()))
    return table.filter(pc.invert(chosen) if invert else chosen)
