"""Portraits follow the catalogue: whoever holds an item whose row or vector changed is rebuilt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from services.db import pending, tail_log
from services.db.leases import Lease, advance, hold
from services.db.session import transaction

ITEMS_AT_ONCE = 500
"""Changed items whose holders are looked up in one transaction."""


@dataclass(frozen=True)
class _Changes:
    """Items whose holders are still to be queued before these leases are up to the catalogue of `snapshot`."""

    items: tuple[str, ...]
    leases: tuple[Lease, ...]
    snapshot: str


class CatalogueFollower:
    """Queues the holders of changed items, some at a time, and remembers with the leases how far it has come.

    It is asked after the catalogue in use has been swapped. Holders are found in the event log, so whoever's event was
    added under the old catalogue is among them.
    """

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine, self._owner = engine, owner
        self._changes: _Changes | None = None

    def forget(self) -> None:
        """Begin anew: the leases are others."""
        self._changes = None

    def step(self, leases: Sequence[Lease], catalogue: str) -> tuple[Lease, ...] | None:
        """Go on towards the catalogue of this snapshot. The leases as they are stored then, or None if all is done.

        Raises:
            LeaseLost: another process has taken one of the leases.
        """
        behind = [lease for lease in leases if lease.catalogue != catalogue]
        if not behind:
            return None
        if self._changes is None:
            self._changes = self._find(behind, catalogue)
        changes = self._changes
        items, rest = changes.items[:ITEMS_AT_ONCE], changes.items[ITEMS_AT_ONCE:]
        with transaction(self._engine) as connection:
            hold(connection, self._owner, leases)
            pending.enqueue_holders(connection, items, [lease.partition for lease in changes.leases])
            if not rest:
                advance(connection, changes.leases, catalogue=changes.snapshot)
                tail_log.forget_catalogue_changes(connection)
        if rest:
            self._changes = replace(changes, items=rest)
            return tuple(leases)
        self._changes = None
        done = {lease.partition for lease in changes.leases}  # ticks in between have advanced their snapshots
        return tuple(replace(one, catalogue=changes.snapshot) if one.partition in done else one for one in leases)

    def _find(self, behind: Sequence[Lease], target: str) -> _Changes:
        with transaction(self._engine) as connection:
            found = {
                item
                for old in {lease.catalogue for lease in behind}
                for item in tail_log.changed_items(connection, old, target)
            }
        return _Changes(tuple(sorted(found)), tuple(behind), target)
