"""Add events to the states of users: from nothing for a full recompute, onto what is stored for an update.

Both are the same computation, so an update in any batching gives the state of a full recompute. What it asks for is
that events come in order: of a user with an event older than the newest one in the state (`late_users`) all events are
folded again, as the order of events on an item decides how much each counts.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core import columns
from services.core.types import WINDOWS, EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import DAY, ProfileConfig
from services.profiles.events import EventBatch, build_batch, one_of
from services.profiles.fold_kernels import add_totals, counted_before, merge_logs, merge_rows
from services.profiles.items import OWNING
from services.profiles.places import places, union
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import ITEM_ROW, LOG_ROW, UserStates, empty_totals, no_states
from services.profiles.weights import BaseWeights, base_weights, by_item

Ints = NDArray[np.int64]


def fold(
    states: UserStates | None,
    events: pa.Table,
    catalogue: Catalogue,
    reference: ReferenceStatistics,
    config: ProfileConfig,
) -> UserStates:
    """The states of the users of `states` and of `events` together, after these events.

    `events` has `services.profiles.events.COLUMNS`, and `sequence` where states are kept; none of them is older than
    the newest in its user's state. Weights refer to `reference`, which must be that of the states.
    """
    return fold_batch(states or no_states(), build_batch(events, catalogue), catalogue, reference, config)


def fold_batch(
    states: UserStates,
    events: EventBatch,
    catalogue: Catalogue,
    reference: ReferenceStatistics,
    config: ProfileConfig,
) -> UserStates:
    """As `fold`, of events that are arrays already."""
    user_ids, old_user, new_user = _union(states.user_ids, events.user_ids)
    item_ids, old_item, new_item = _union(states.item_ids, events.item_ids)
    user, item = new_user[events.user], np.append(new_item, -1)[events.item]
    held = old_user[states.user], old_item[states.item], states.rows
    order = by_item(user, item, len(user_ids), len(item_ids))
    already = counted_before(*held, user, item, order)
    weights = base_weights(events, catalogue, reference, config, order, already)
    totals = empty_totals(len(user_ids))
    totals[old_user] = states.totals
    _add_totals(totals, user, events, weights, config)
    row_user, row_item, rows = _item_rows(held, user, item, order, events, weights, config)
    log_user, log = _log(old_user[states.log_user], states.log, user, events)
    return UserStates(user_ids, totals, item_ids, row_user, row_item, rows, log_user, log)


def late_users(states: UserStates, events: pa.Table) -> list[str]:
    """Users with an event before the newest in their state, by time and then by place in the log (`sequence`)."""
    row = places(events.column(columns.USER_ID).cast(pa.string()), states.user_ids)
    time = events.column(columns.TIMESTAMP).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy() / 1e6
    known = row >= 0
    row, time, sequence = row[known], time[known], events.column("sequence").to_numpy()[known]
    late = (time < states.newest[row]) | ((time == states.newest[row]) & (sequence < states.newest_sequence[row]))
    return states.user_ids.take(pa.array(np.unique(row[late]))).to_pylist()


def _union(ours: pa.Array, theirs: pa.Array) -> tuple[pa.Array, Ints, Ints]:
    """As `places.union`, of sides that are in order and often the same, or one of them empty."""
    if not len(ours) or ours.equals(theirs):
        return theirs, np.arange(len(ours)), np.arange(len(theirs))
    return union(ours, theirs)


def _item_rows(
    held: tuple[Ints, Ints, NDArray[np.void]],
    user: Ints,
    item: Ints,
    order: Ints,
    events: EventBatch,
    weights: BaseWeights,
    config: ProfileConfig,
) -> tuple[Ints, Ints, NDArray[np.void]]:
    """The rows of both sides, one a user and item, in order of both."""
    most = len(held[2]) + len(order)
    row_user, row_item, rows = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, ITEM_ROW)
    count = merge_rows(
        *held,
        *(user, item, order, events.time, events.type, events.price),
        *(weights.constant, weights.slope, weights.evidence),
        *(one_of(*OWNING), one_of(EventType.HIDE), config.long_half_life, config.short_half_life),
        *(row_user, row_item, rows),
    )
    return row_user[:count], row_item[:count], rows[:count]


def _add_totals(
    totals: NDArray[np.void], user: Ints, events: EventBatch, weights: BaseWeights, config: ProfileConfig
) -> None:
    """Add the events of `user` (m,), in order of user and time, to `totals` (U,)."""
    add_totals(
        *(totals, user, events.time, events.sequence, events.type),
        *(events.price, events.rating, events.sentiment, weights.evidence),
        *(one_of(EventType.RATING, EventType.REVIEW), one_of(EventType.HIDE), one_of(EventType.IMPRESSION)),
        *(config.long_half_life, DAY),
    )


def _log(old_user: Ints, old: NDArray[np.void], user: Ints, events: EventBatch) -> tuple[Ints, NDArray[np.void]]:
    """What the behaviour windows still need, by user and time."""
    most = len(old) + events.count
    log_user, log = np.empty(most, np.int64), np.empty(most, LOG_ROW)
    count = merge_logs(
        *(old_user, old, user, events.time, events.type, events.dwell_ms, events.depth, events.position),
        *(one_of(EventType.IMPRESSION), max(WINDOWS.values()), log_user, log),
    )
    return log_user[:count], log[:count]
