"""What the online store has lost is noticed and written again, without a person.

Every second the tail looks for the mark of each of its partitions in the store. Where it has written portraits
meanwhile, and else every few seconds, it renews it there and remembers it in Postgres with the run of the server it
wrote to. A store that is emptied has no mark, one restored from an old dump an old one; one that was restarted may have
lost its last second.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, Engine

from services.core.errors import DependencyDown
from services.core.live_keys import READY, REBUILDING
from services.core.logging import get_logger
from services.core.types import JobKind
from services.db.jobs import request_job
from services.db.leases import PARTITIONS
from services.db.pending import Reason, enqueue_updated_since
from services.db.pending_items import enqueue_items_since
from services.db.session import transaction
from services.db.store_marks import StoredMark, database_time, read_marks, unpublished, write_marks

log = get_logger("tail")

RENEWED = timedelta(seconds=5)
"""How old a mark becomes while nothing is written: so much more is written again after a loss."""

MARGIN = timedelta(seconds=30)
"""Other writers publish after their commit: portraits stored this long before a mark may be missing under it."""


class StoreState(Protocol):
    """What the online store says of itself (`services.features.online.marks.StoreState`)."""

    @property
    def run_id(self) -> str: ...
    @property
    def marks(self) -> Mapping[int, datetime]: ...
    @property
    def status(self) -> str | None: ...


class Marks(Protocol):
    """The marks in the online store (`services.features.online.marks.OnlineMarks`)."""

    def read(self, partitions: Sequence[int]) -> StoreState: ...
    def write(self, partitions: Sequence[int], mark: datetime) -> None: ...
    def set_status(self, status: str, since: float) -> None: ...


class MarkKeeper:
    """Compares and renews the marks of one tail's partitions."""

    def __init__(self, engine: Engine, marks: Marks) -> None:
        self._engine, self._marks = engine, marks

    def check(self, partitions: Sequence[int], written: bool = True) -> bool:
        """Queue what was lost, renew the marks, say whether the store is complete. False if it does not answer.
        `written`: portraits have been, since the last look.

        The loss is in the queue before the marks that showed it are overwritten: a crash in between finds it again.
        """
        try:
            state = self._marks.read(range(PARTITIONS))
            with transaction(self._engine) as connection:
                stored = {mark.partition: mark for mark in read_marks(connection)}
                now = database_time(connection)
                since = _fallen_back(partitions, stored, state, now)
                lost = self._enqueue_lost(connection, stored, since) if since else 0
            if state.status is None or (lost and state.status != REBUILDING):
                self._marks.set_status(REBUILDING, now.timestamp())
            if since or written or _due(partitions, stored, now):
                self._marks.write(partitions, now)
                with transaction(self._engine) as connection:
                    write_marks(connection, partitions, now, state.run_id)
            if lost or state.status != READY:
                self._ready_if_complete(now)
        except DependencyDown as error:
            log.warning("online-store-down", detail=error.detail)
            return False
        return True

    def _enqueue_lost(
        self, connection: Connection, stored: Mapping[int, StoredMark], since: Mapping[datetime | None, list[int]]
    ) -> int:
        """Queue the users whose portraits the store may have lost; how many."""
        lost = sum(enqueue_updated_since(connection, start, some, Reason.PUBLISH) for start, some in since.items())
        moments = [start for start in since if start is not None]
        if moments:  # of an emptied store the job below writes all items
            enqueue_items_since(connection, min(moments))
        emptied = [partition for partition in since.get(None, []) if stored[partition].mark is not None]
        if emptied:
            log.warning("online-store-emptied", partitions=len(emptied), users=lost)
            request_job(connection, JobKind.MATERIALIZE.value, {"mode": "all"})
        elif lost:
            log.warning("online-store-fell-back", users=lost)
        return lost

    def _ready_if_complete(self, now: datetime) -> None:
        """The store is complete when every partition has looked at it and nobody waits to be published."""
        state = self._marks.read(range(PARTITIONS))
        if len(state.marks) < PARTITIONS:
            return
        with transaction(self._engine) as connection:
            looked = all(mark.run_id == state.run_id for mark in read_marks(connection))
            if not looked or unpublished(connection):
                return
        self._marks.set_status(READY, now.timestamp())


def _fallen_back(
    partitions: Sequence[int], stored: Mapping[int, StoredMark], state: StoreState, now: datetime
) -> dict[datetime | None, list[int]]:
    """Partitions of which the store may have lost portraits, by the time since when; None: any of them.

    A mark of the future is of before the clock was set back: which states came after it, their times do not tell.
    """
    since: dict[datetime | None, list[int]] = {}
    for partition in partitions:
        found, known = state.marks.get(partition), stored[partition]
        if found is None or (found > now and found != known.mark):
            since.setdefault(None, []).append(partition)
        elif known.mark is None or found < known.mark or state.run_id != known.run_id:
            since.setdefault(found - MARGIN, []).append(partition)
    return since


def _due(partitions: Sequence[int], stored: Mapping[int, StoredMark], now: datetime) -> bool:
    """Whether a mark is to be renewed: it is old, or of before the clock was set back."""
    marks = [stored[partition].mark for partition in partitions]
    return any(mark is None or not timedelta(0) <= now - mark < RENEWED for mark in marks)
