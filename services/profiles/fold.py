"""Add events to the states of users: from nothing for a full recompute, onto what is stored for an update.

Both are the same computation, so an update in any batching gives the state of a full recompute. What it asks for is
that events come in order: of a user with an event older than the newest one in the state (`late_users`) all events are
folded again, as the order of events on an item decides how much each counts.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core import columns
from services.core.types import WINDOWS, EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import DAY, ProfileConfig
from services.profiles.events import EventBatch, build_batch
from services.profiles.items import OWNING
from services.profiles.places import places
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import ITEM_ROW, LOG_ROW, NEVER, UserStates, empty_totals, no_states
from services.profiles.weights import BaseWeights, base_weights, decay

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FADING = {
    "long": "long_half_life",
    "long_slope": "long_half_life",
    "short": "short_half_life",
    "short_slope": "short_half_life",
    "hides": "long_half_life",
    "evidence": "long_half_life",
    "unpriced": "long_half_life",
}
"""The decayed sums of an item row, and which half-life of the configuration each has."""


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
    totals = empty_totals(len(user_ids))
    totals[old_user] = states.totals
    held_key = old_user[states.user] * len(item_ids) + old_item[states.item]
    user = new_user[events.user]
    key = np.where(events.item >= 0, user * len(item_ids) + np.append(new_item, -1)[events.item], -1)
    weights = base_weights(events, catalogue, reference, config, _already(held_key, states.rows["count"], key))
    log_user, log = _log(old_user[states.log_user], states.log, user, events, len(user_ids))
    rows_key, rows = _item_rows(held_key, states.rows, key, events, weights, config)
    return UserStates(
        user_ids=user_ids,
        totals=_totals(totals, user, events, weights, config),
        item_ids=item_ids,
        user=rows_key // max(len(item_ids), 1),
        item=rows_key % max(len(item_ids), 1),
        rows=rows,
        log_user=log_user,
        log=log,
    )


def late_users(states: UserStates, events: pa.Table) -> list[str]:
    """Users with an event before the newest in their state, by time and then by place in the log (`sequence`)."""
    row = places(events.column(columns.USER_ID).cast(pa.string()), states.user_ids)
    time = events.column(columns.TIMESTAMP).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy() / 1e6
    known = row >= 0
    row, time, sequence = row[known], time[known], events.column("sequence").to_numpy()[known]
    late = (time < states.newest[row]) | ((time == states.newest[row]) & (sequence < states.newest_sequence[row]))
    return states.user_ids.take(pa.array(np.unique(row[late]))).to_pylist()


def _union(ours: pa.Array, theirs: pa.Array) -> tuple[pa.Array, Ints, Ints]:
    """All values in order, and the places of each side's values among them."""
    both = pa.concat_arrays([ours, theirs]).unique()
    both = both.take(pc.sort_indices(both))
    return both, *(places(side, both) for side in (ours, theirs))


def _already(held_key: Ints, count: NDArray[np.int32], key: Ints) -> Floats:
    """(m,) how many events the state counted on each event's user and item; `held_key` is in ascending order."""
    if not len(held_key):
        return np.zeros(len(key))
    place = np.minimum(np.searchsorted(held_key, key), len(held_key) - 1)
    return np.where(held_key[place] == key, count[place], 0).astype(np.float64)


def _item_rows(
    held_key: Ints, held: NDArray[np.void], key: Ints, events: EventBatch, weights: BaseWeights, config: ProfileConfig
) -> tuple[Ints, NDArray[np.void]]:
    """The rows of both sides, one a key, in order of keys."""
    index = np.flatnonzero((key >= 0) & ((weights.evidence > 0) | events.is_type(*OWNING, EventType.HIDE)))
    keys = np.concatenate([held_key, key[index]])
    rows = np.concatenate([held, _event_rows(index, events, weights)])
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    if len(first) == len(keys):
        return keys, rows
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(keys))))
    return keys[first], _merged(rows, first, group, keys, config)


def _merged(rows: NDArray[np.void], first: Ints, group: Ints, keys: Ints, config: ProfileConfig) -> NDArray[np.void]:
    merged = np.zeros(len(first), ITEM_ROW)
    for name in ("time", "bought", "hid"):
        merged[name] = np.maximum.reduceat(rows[name], first)
    merged["count"] = np.add.reduceat(rows["count"], first)
    said = rows["count"] > 0
    age = np.where(said, merged["time"][group] - np.where(said, rows["time"], 0.0), np.inf)
    factors = {half: decay(age, getattr(config, half)) for half in set(FADING.values())}
    for name, half in FADING.items():
        merged[name] = np.add.reduceat(rows[name] * factors[half], first)
    last = np.append(first[1:], len(rows)) - 1
    strongest = np.lexsort((np.arange(len(rows)), rows["strongest"], keys))[last]
    merged["strongest"], merged["type"] = rows["strongest"][strongest], rows["type"][strongest]
    return merged


def _event_rows(index: Ints, events: EventBatch, weights: BaseWeights) -> NDArray[np.void]:
    """An item row of each event alone."""
    rows = np.zeros(len(index), ITEM_ROW)
    time, evidence = events.time[index], weights.evidence[index]
    counted, hides = evidence > 0, events.is_type(EventType.HIDE)[index]
    rows["time"] = np.where(counted, time, NEVER)
    rows["long"] = rows["short"] = np.where(counted, weights.constant[index], 0.0)
    rows["long_slope"] = rows["short_slope"] = np.where(counted, weights.slope[index], 0.0)
    rows["hides"] = np.where(hides, rows["long"], 0.0)
    rows["evidence"] = evidence
    rows["unpriced"] = np.where(hides | (events.price[index] > 0), 0.0, evidence)
    rows["strongest"] = np.where(counted, evidence, -1.0)
    rows["bought"] = np.where(events.is_type(*OWNING)[index], time, NEVER)
    rows["hid"] = np.where(hides, time, NEVER)
    rows["count"], rows["type"] = counted, events.type[index]
    return rows


def _totals(
    totals: NDArray[np.void], user: Ints, events: EventBatch, weights: BaseWeights, config: ProfileConfig
) -> NDArray[np.void]:
    """`totals` (U,) with the events of `user` (m,), in order of user and time, added in place."""
    users = len(totals)
    totals["events"] += np.bincount(user, minlength=users)
    last = np.flatnonzero(np.diff(user, append=-1))
    totals["newest"][user[last]] = events.time[last]
    totals["newest_sequence"][user[last]] = events.sequence[last]
    _add_moments(totals["ratings"], user, events.rating, 3)
    judged = events.is_type(EventType.RATING, EventType.REVIEW)
    _add_moments(totals["sentiments"], user, np.where(judged, events.sentiment, np.nan), 2)
    _add_paid(totals, user, events, weights, config)
    _add_activity(totals, user, events)
    return totals


def _add_moments(into: Floats, user: Ints, values: Floats, powers: int) -> None:
    """Add 1, v, v², … of the known values to the rows of their users."""
    known = ~np.isnan(values)
    for power in range(powers):
        into[:, power] += np.bincount(user[known], values[known] ** power, len(into))


def _add_paid(
    totals: NDArray[np.void], user: Ints, events: EventBatch, weights: BaseWeights, config: ProfileConfig
) -> None:
    counted = weights.evidence > 0
    reference = totals["reference"].copy()
    np.maximum.at(reference, user[counted], events.time[counted])
    known = ~np.isneginf(totals["reference"])
    totals["paid"][known] *= decay(reference[known] - totals["reference"][known], config.long_half_life)[:, None]
    totals["reference"] = reference
    paid = counted & (events.price > 0) & ~events.is_type(EventType.HIDE)
    user, log = user[paid], np.log(events.price[paid])
    weight = weights.evidence[paid] * decay(reference[user] - events.time[paid], config.long_half_life)
    for power in range(3):
        totals["paid"][:, power] += np.bincount(user, weight * log**power, len(totals))


def _add_activity(totals: NDArray[np.void], user: Ints, events: EventBatch) -> None:
    active = ~events.is_type(EventType.IMPRESSION)
    user, time = user[active], events.time[active]
    day = np.floor(time / DAY)
    before = np.floor(totals["last_active"] / DAY)[user]
    starts = np.diff(user, prepend=-1) != 0
    before[1:] = np.where(starts[1:], before[1:], day[:-1])
    totals["days"] += np.bincount(user, day != before, len(totals)).astype(np.int32)
    np.minimum.at(totals["first_active"], user, time)
    np.maximum.at(totals["last_active"], user, time)


def _log(
    old_user: Ints, old: NDArray[np.void], user: Ints, events: EventBatch, users: int
) -> tuple[Ints, NDArray[np.void]]:
    """What the behaviour windows still need, by user and time."""
    index = np.flatnonzero(~events.is_type(EventType.IMPRESSION))
    added = np.zeros(len(index), LOG_ROW)
    for name in ("time", "dwell_ms", "depth", "position", "type"):
        added[name] = getattr(events, name)[index]
    owner, log = np.concatenate([old_user, user[index]]), np.concatenate([old, added])
    newest = np.full(users, NEVER)
    np.maximum.at(newest, owner, log["time"])
    kept = newest[owner] - log["time"] < max(WINDOWS.values())
    owner, log = owner[kept], log[kept]
    order = np.argsort(owner, kind="stable")
    return owner[order], log[order]
