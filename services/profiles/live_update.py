"""New portraits from kept states and new events: the computation of a tick, without a database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core.columns import USER_ID
from services.db.tail_log import Snapshot
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.events import COLUMNS, MOMENT, SEQUENCE
from services.profiles.fold import fold, late_users
from services.profiles.places import places
from services.profiles.read_out import read_out
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import TOTALS, UserStates, no_states
from services.profiles.state_codec import encode, unreadable_users

MICROSECOND = timedelta(microseconds=1)

EVENTS = (*COLUMNS, SEQUENCE)
"""The columns of events that an update is computed from."""


@dataclass(frozen=True)
class Batch:
    """What a tick computes from: the `states` to go on from, the `events` to add, and of users without a state all
    their events. Each user has events."""

    states: UserStates
    events: pa.Table

    def users(self) -> list[str]:
        """The users it is about."""
        return sorted(self.events.column(USER_ID).unique().to_pylist())

    def only(self, users: Sequence[str]) -> "Batch":
        """The part that is about some users."""
        chosen = pc.is_in(self.events.column(USER_ID), value_set=pa.array(users, pa.string()))
        return Batch(self.states.of_users(list(users)), self.events.filter(chosen))


def new_events(kept: pa.Table, delta: pa.Table) -> pa.Table:
    """The events of `delta` (with `txid`) that are not in their user's kept state yet."""
    row = places(delta.column(USER_ID), kept.column(USER_ID))
    snapshots = [Snapshot.parse(text) for text in kept.column("snapshot").to_pylist()]
    end = np.array([*(snapshot.xmax for snapshot in snapshots), 0], np.int64)
    txid = delta.column("txid").to_numpy()
    fresh = txid >= end[row]
    for index in np.flatnonzero(~fresh):  # few: an update by another writer, or a transaction that was long under way
        fresh[index] = not snapshots[row[index]].shows(int(txid[index]))
    return delta.filter(pa.array(fresh))


def to_rebuild(kept: pa.Table, events: pa.Table, reference_version: int) -> list[str]:
    """Users with new events that cannot be added to what is kept: there is nothing kept, it was made under another
    reference or cannot be read, or an event is older than the newest in it."""
    users = events.column(USER_ID).unique()
    fit = pc.equal(kept.column("reference_version"), pa.scalar(reference_version, pa.int32()))
    usable = kept.filter(fit)
    damaged = unreadable_users(usable)
    if damaged:
        usable = usable.filter(pc.invert(pc.is_in(usable.column(USER_ID), value_set=pa.array(damaged, pa.string()))))
    unknown = users.filter(pc.invert(pc.is_in(users, value_set=usable.column(USER_ID).combine_chunks())))
    late = late_users(_newest(usable), events) if usable.num_rows else []
    return sorted({*unknown.to_pylist(), *late})


def _newest(kept: pa.Table) -> UserStates:
    """States with their totals alone: what is needed to know when the newest events were."""
    totals = np.frombuffer(b"".join(kept.column("totals").to_pylist()), TOTALS)
    return replace(no_states(), user_ids=kept.column(USER_ID).combine_chunks(), totals=totals)


def compute(
    batch: Batch,
    neighbours: pa.Table,
    catalogue: Catalogue,
    reference: ReferenceStatistics,
    as_of: datetime,
    config: ProfileConfig,
) -> pa.Table:
    """Rows for `write_states`: new states and packed portraits. `neighbours` has `user_id` and `neighbours` of those
    users who have some."""
    states = fold(batch.states, batch.events, catalogue, reference, config)
    place = pc.index_in(states.user_ids, value_set=neighbours.column(USER_ID).combine_chunks())
    near = neighbours.column("neighbours").combine_chunks().take(place)
    made = read_out(states, near, catalogue, reference, as_of.timestamp(), config)
    return pa.table(
        {
            USER_ID: states.user_ids,
            **encode(states),
            "packed": pa.array(made.packed, pa.binary()),
            "reference_version": pa.array([reference.version] * states.users, pa.int32()),
            "as_of": pa.array([as_of] * states.users, MOMENT),
        }
    )


def compute_apart(batch: Batch, run: Callable[[Batch], pa.Table]) -> tuple[list[pa.Table], dict[str, str]]:
    """The tables of a batch, and by user the error of those whose events raise.

    A batch that raises is halved by user until the one that does it stands alone, so everybody else goes on.
    """
    try:
        return [run(batch)], {}
    except Exception as error:
        users = batch.users()
        if len(users) == 1:
            return [], {users[0]: f"{type(error).__name__}: {error}"[:500]}
    half = len(users) // 2
    tables, errors = [], {}
    for part in (users[:half], users[half:]):
        found, raised = compute_apart(batch.only(part), run)
        tables += found
        errors |= raised
    return tables, errors


def moment(kept: pa.Table, now: datetime) -> datetime:
    """As of when new portraits are: later than any of the kept ones, whatever the clock says."""
    newest = pc.max(kept.column("as_of")).as_py()
    return now if newest is None else max(now, newest.astimezone(UTC) + MICROSECOND)


def seconds_since(received: pa.ChunkedArray, now: datetime) -> NDArray[np.float64]:
    """(m,) seconds from when events were received until `now`, never negative."""
    micros = received.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    return np.maximum(now.timestamp() - micros / 1e6, 0.0)
