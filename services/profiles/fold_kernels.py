"""The loops of `services.profiles.fold`, over the events in the order of their users and over what is kept of them."""

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read, written
from services.profiles.state import ITEM_ROW, LOG_ROW, NEVER, TOTALS

Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.void]


@native()
def _faded(age: float, half_life: float) -> float:
    """2^(−age / half-life)."""
    return np.exp2(-age / half_life) if age != 0.0 else 1.0


@native(read(np.int64), read(np.int64), read(ITEM_ROW), read(np.int64), read(np.int64), read(np.int64))
def counted_before(held_user: Ints, held_item: Ints, held: Rows, user: Ints, item: Ints, order: Ints) -> Ints:
    """(m,) how many events the held rows, by user and item, counted on each event's user and item.

    The events on items are in `order`, by user and item as well.
    """
    found = np.zeros(len(user), np.int64)
    row = 0
    for at in order:
        while row < len(held) and (held_user[row], held_item[row]) < (user[at], item[at]):
            row += 1
        if row < len(held) and held_user[row] == user[at] and held_item[row] == item[at]:
            found[at] = held[row].count
    return found


@native()
def _clear(row: Rows) -> None:
    """An item row without events."""
    row.time = row.bought = row.hid = NEVER
    row.long = row.long_slope = row.short = row.short_slope = row.hides = row.evidence = row.unpriced = 0.0
    row.strongest = -1.0
    row.count = row.type = 0


@native(
    *(read(np.int64), read(np.int64), read(ITEM_ROW)),
    *(read(np.int64), read(np.int64), read(np.int64)),
    *(read(np.float64), read(np.int8), read(np.float64), read(np.float64), read(np.float64), read(np.float64)),
    *(read(np.bool_), read(np.bool_), np.float64, np.float64),
    *(written(np.int64), written(np.int64), written(ITEM_ROW)),
)
def merge_rows(
    held_user: Ints,
    held_item: Ints,
    held: Rows,
    user: Ints,
    item: Ints,
    order: Ints,
    time: Floats,
    type_: Codes,
    price: Floats,
    constant: Floats,
    slope: Floats,
    evidence: Floats,
    owning: Flags,
    hiding: Flags,
    long_half_life: float,
    short_half_life: float,
    row_user: Ints,
    row_item: Ints,
    rows: Rows,
) -> int:
    """Write the held rows and those of the events, one a user and item, in order of both; returns how many there are.

    The events are in `order`, by user, item and time; `price`, `constant`, `slope`, `evidence` are theirs. Those that
    say nothing and neither own nor hide the item are left out. There is room for as many as both sides have.
    """
    count = old = start = 0
    while old < len(held) or start < len(order):
        if start < len(order):
            key = user[order[start]], item[order[start]]
        if start == len(order) or (old < len(held) and (held_user[old], held_item[old]) < key):
            key = held_user[old], held_item[old]
        into = rows[count]
        found = old < len(held) and (held_user[old], held_item[old]) == key
        if found:
            rows[count] = held[old]
            old += 1
        else:
            _clear(into)
        end, newest = start, into.time
        while end < len(order) and user[order[end]] == key[0] and item[order[end]] == key[1]:
            if evidence[order[end]] > 0:
                newest = max(newest, time[order[end]])
            end += 1
        if into.count and newest > into.time:
            long, short = _faded(newest - into.time, long_half_life), _faded(newest - into.time, short_half_life)
            into.long *= long
            into.long_slope *= long
            into.short *= short
            into.short_slope *= short
            into.hides *= long
            into.evidence *= long
            into.unpriced *= long
        into.time = newest
        for place in range(start, end):
            at = order[place]
            counted, owns, hides = evidence[at] > 0, owning[type_[at]], hiding[type_[at]]
            if not (counted or owns or hides):
                continue
            found = True
            if owns:
                into.bought = max(into.bought, time[at])
            if hides:
                into.hid = max(into.hid, time[at])
            strongest = evidence[at] if counted else -1.0
            if strongest >= into.strongest:
                into.strongest, into.type = strongest, type_[at]
            if not counted:
                continue
            long, short = _faded(newest - time[at], long_half_life), _faded(newest - time[at], short_half_life)
            into.long += constant[at] * long
            into.long_slope += slope[at] * long
            into.short += constant[at] * short
            into.short_slope += slope[at] * short
            into.evidence += evidence[at] * long
            if hides:
                into.hides += constant[at] * long
            elif not price[at] > 0:
                into.unpriced += evidence[at] * long
            into.count += 1
        start = end
        if found:
            row_user[count], row_item[count] = key
            count += 1
    return count


@native(
    written(TOTALS),
    *(read(np.int64), read(np.float64), read(np.int64), read(np.int8)),
    *(read(np.float64), read(np.float64), read(np.float64), read(np.float64)),
    *(read(np.bool_), read(np.bool_), read(np.bool_), np.float64, np.float64),
)
def add_totals(
    totals: Rows,
    user: Ints,
    time: Floats,
    sequence: Ints,
    type_: Codes,
    price: Floats,
    rating: Floats,
    sentiment: Floats,
    evidence: Floats,
    judging: Flags,
    hiding: Flags,
    passive: Flags,
    half_life: float,
    day: float,
) -> None:
    """Add the events, by user and time, to the totals of their users, in place."""
    start = end = 0
    while start < len(user):
        into = totals[user[start]]
        reference = into.reference
        while end < len(user) and user[end] == user[start]:
            if evidence[end] > 0:
                reference = max(reference, time[end])
            end += 1
        into.events += end - start
        into.newest, into.newest_sequence = time[end - 1], sequence[end - 1]
        if into.reference > NEVER:
            for power in range(3):
                into.paid[power] *= _faded(reference - into.reference, half_life)
        into.reference = reference
        for at in range(start, end):
            if not np.isnan(rating[at]):
                into.ratings[0] += 1.0
                into.ratings[1] += rating[at]
                into.ratings[2] += rating[at] ** 2
            if judging[type_[at]] and not np.isnan(sentiment[at]):
                into.sentiments[0] += 1.0
                into.sentiments[1] += sentiment[at]
            if evidence[at] > 0 and price[at] > 0 and not hiding[type_[at]]:
                weight, log = evidence[at] * _faded(reference - time[at], half_life), np.log(price[at])
                into.paid[0] += weight
                into.paid[1] += weight * log
                into.paid[2] += weight * log**2
            if not passive[type_[at]]:
                if np.floor(time[at] / day) != np.floor(into.last_active / day):
                    into.days += 1
                into.first_active = min(into.first_active, time[at])
                into.last_active = max(into.last_active, time[at])
        start = end


@native(
    *(read(np.int64), read(LOG_ROW)),
    *(read(np.int64), read(np.float64), read(np.int8), read(np.float64), read(np.float64), read(np.float64)),
    *(read(np.bool_), np.float64),
    *(written(np.int64), written(LOG_ROW)),
)
def merge_logs(
    old_user: Ints,
    old: Rows,
    user: Ints,
    time: Floats,
    type_: Codes,
    dwell_ms: Floats,
    depth: Floats,
    position: Floats,
    passive: Flags,
    longest: float,
    log_user: Ints,
    log: Rows,
) -> int:
    """Write what of both sides is younger than `longest` before the user's newest, by user, the old ones first; returns
    how many there are."""
    count = old_start = start = 0
    while old_start < len(old) or start < len(user):
        if start == len(user) or (old_start < len(old) and old_user[old_start] < user[start]):
            owner = old_user[old_start]
        else:
            owner = user[start]
        old_end, end, newest = old_start, start, NEVER
        while old_end < len(old) and old_user[old_end] == owner:
            newest = max(newest, old[old_end].time)
            old_end += 1
        while end < len(user) and user[end] == owner:
            if not passive[type_[end]]:
                newest = max(newest, time[end])
            end += 1
        for at in range(old_start, old_end):
            if newest - old[at].time < longest:
                log_user[count], log[count] = owner, old[at]
                count += 1
        for at in range(start, end):
            if not passive[type_[at]] and newest - time[at] < longest:
                into = log[count]
                into.time, into.dwell_ms, into.type = time[at], dwell_ms[at], type_[at]
                into.depth, into.position = depth[at], position[at]
                log_user[count] = owner
                count += 1
        old_start, start = old_end, end
    return count
