"""Folding events into states: in any batches, the portraits of a full recompute."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import AS_OF, DAY, HOUR, catalogue_of, event, events_table, item, states

from services.core.errors import CorruptArtefact
from services.profiles.config import ProfileConfig
from services.profiles.drift import Drift
from services.profiles.fold import fold, late_users
from services.profiles.read_out import read_out
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import ITEM_ROW, UserStates
from services.profiles.state_codec import decode, encode, unreadable_users

CONFIG = ProfileConfig()
REFERENCE = ReferenceStatistics.defaults()
ITEMS = "abcde"
SHOP = catalogue_of(
    *(
        item(name, np.eye(5)[k] + 0.3, ["Shop", f"Aisle {k % 2}"], f"Brand {k % 3}", 5.0 + 3 * k)
        for k, name in enumerate(ITEMS)
    )
)

ONE_EVENT = st.tuples(
    st.sampled_from("uvw"),
    st.sampled_from([*ITEMS, "not in the catalogue", None]),
    st.sampled_from(["view", "click", "purchase", "hide", "rating", "review", "cart", "search"]),
    st.integers(0, 200),
    st.integers(0, 5),
    st.floats(-1, 1, width=32),
)


def made(rows: list[tuple]) -> pa.Table:
    """The events in order of time, with their places in the log."""
    events = []
    for user, item_id, kind, age, stars, sentiment in rows:
        given_ = {"rating": {"rating": max(stars, 1)}, "review": {"rating": stars, "sentiment": sentiment}}.get(
            kind, {}
        )
        given_ = {"view": {"dwell_ms": 900 * stars, "depth": 0.2 * stars}, "cart": {"price": stars}}.get(kind, given_)
        events.append(event(user, item_id, kind, age * DAY / 4, **given_))
    table = events_table(*sorted(events, key=lambda row: row["timestamp"]))
    return table.append_column("sequence", pa.array(np.arange(table.num_rows)))


def stored(found: UserStates) -> UserStates:
    """The states as they come back from the database."""
    return decode(pa.table({"user_id": found.user_ids, **encode(found)}))


@settings(max_examples=80, deadline=None)
@given(st.lists(ONE_EVENT, min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_batching_equals_the_full_recompute(rows, cuts):
    events = made(rows)
    whole = fold(None, events, SHOP, REFERENCE, CONFIG)
    bounds = [0, *sorted({cut for cut in cuts if cut < len(events)}), len(events)]
    kept = None
    for low, high in itertools.pairwise(bounds):
        kept = fold(kept if kept is None else stored(kept), events.slice(low, high - low), SHOP, REFERENCE, CONFIG)
    drift = Drift()
    drift.add(kept, whole, CONFIG)
    assert (drift.compared, drift.users) == (whole.users, 0)
    ours, theirs = (read_out(s, None, SHOP, REFERENCE, AS_OF, CONFIG) for s in (kept, whole))
    assert np.allclose(ours.behaviour, theirs.behaviour, 1e-5, 1e-5, equal_nan=True)
    for mine, full in zip(ours.portraits, theirs.portraits, strict=True):
        assert [r.item_id for r in mine.recent_items] == [r.item_id for r in full.recent_items]
        assert (mine.bought, mine.hidden, mine.lifecycle) == (full.bought, full.hidden, full.lifecycle)
        assert dict(mine.categories) == pytest.approx(dict(full.categories), abs=2e-4)


def weighed(row: dict, earlier: int) -> tuple[float, float, float]:
    """(constant, slope, evidence) of one event, after so many that count on the same item, by the formula."""
    judged = row["type"] in ("rating", "review")
    rating, sentiment = (row[name] if judged else None for name in ("rating", "sentiment"))
    said = [0.5 + part for part in (None if rating is None else rating / 2, sentiment) if part is not None]
    constant = sum(said) / len(said) if said else 0.5 if judged else 1.0
    slope = 0.0 if rating is None else 0.5 / len(said)
    x = 1.0 if row["dwell_ms"] is None else row["dwell_ms"] / REFERENCE.dwell_median_default
    seen = 1.0 if row["depth"] is None else 0.5 + row["depth"]
    strength = REFERENCE.importance[row["type"]] * 2 * x / (1 + x) * seen / (1 + np.log1p(earlier))
    return strength * constant, strength * slope, abs(strength)


def plain_row(events: list[dict]) -> dict[str, float]:
    """The item row of a user's events on an item, in order of time, by the formulas."""
    parts = []
    for row in events:
        earlier = sum(part[3] > 0 for part in parts)
        parts.append((row, *weighed(row, earlier)))
    counted = [part for part in parts if part[3] > 0]
    newest = max((part[0]["timestamp"].timestamp() for part in counted), default=-np.inf)

    def total(place: int, half_life: float, kept=lambda row: True) -> float:
        age = [(newest - part[0]["timestamp"].timestamp()) / half_life for part in counted]
        return sum(part[place] * 2.0**-a for part, a in zip(counted, age, strict=True) if kept(part[0]))

    def last(*types: str) -> float:
        return max((row["timestamp"].timestamp() for row in events if row["type"] in types), default=-np.inf)

    long, short = CONFIG.long_half_life, CONFIG.short_half_life
    return {
        "time": newest,
        "long": total(1, long),
        "long_slope": total(2, long),
        "short": total(1, short),
        "short_slope": total(2, short),
        "hides": total(1, long, lambda row: row["type"] == "hide"),
        "evidence": total(3, long),
        "unpriced": total(3, long, lambda row: row["type"] != "hide" and not row["price"]),
        "strongest": max((part[3] for part in counted), default=-1.0),
        "bought": last("purchase", "rating", "review"),
        "hid": last("hide"),
        "count": len(counted),
    }


@settings(max_examples=80, deadline=None)
@given(st.lists(ONE_EVENT, max_size=30))
def test_item_rows_are_those_of_the_plain_formulas(rows):
    events = made(rows)
    found = fold(None, events, SHOP, REFERENCE, CONFIG)
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in events.to_pylist():
        if row["item_id"] is not None:
            groups.setdefault((row["user_id"], row["item_id"]), []).append(row)
    expected = {key: plain_row(some) for key, some in sorted(groups.items())}
    expected = {key: row for key, row in expected.items() if row["count"] or row["bought"] > 0 or row["hid"] > 0}
    users, items = found.user_ids.take(found.user).to_pylist(), found.item_ids.take(found.item).to_pylist()
    assert list(zip(users, items, strict=True)) == list(expected)
    for name in ITEM_ROW.names:
        if name != "type":
            assert found.rows[name].tolist() == pytest.approx([row[name] for row in expected.values()], abs=1e-12), name


@settings(max_examples=40, deadline=None)
@given(st.lists(ONE_EVENT, max_size=20))
def test_states_come_back_from_the_database_as_they_were(rows):
    found = fold(None, made(rows), SHOP, REFERENCE, CONFIG)
    again = stored(found)
    assert again.user_ids.equals(found.user_ids)
    for name in ("totals", "rows", "log", "user", "log_user"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes(), name
    assert again.item_ids.take(pa.array(again.item)).equals(found.item_ids.take(pa.array(found.item)))


def test_of_a_damaged_state_the_user_is_named():
    table = pa.table({"user_id": ["u", "v"], **encode(states(SHOP, event("u", "a", "view"), event("v", "b", "view")))})
    damaged = table.set_column(2, "items", pa.array([b"torn", table["items"][1].as_py()]))
    assert unreadable_users(table) == []
    assert unreadable_users(damaged) == ["u"]
    with pytest.raises(CorruptArtefact, match="recompute"):
        decode(damaged)


def test_users_with_an_event_older_than_their_newest_are_late():
    table = made([("u", "a", "view", 4, 1, 0), ("v", "a", "view", 8, 1, 0)])
    found = fold(None, table, SHOP, REFERENCE, CONFIG)
    later = events_table(event("u", "b", "view", 8 * DAY), event("v", "b", "view", DAY), event("w", "b", "view", DAY))
    assert late_users(found, later.append_column("sequence", pa.array([5, 6, 7]))) == ["u"]
    same_time = events_table(event("u", "b", "view", DAY))
    assert late_users(found, same_time.append_column("sequence", pa.array([9]))) == []
    assert late_users(found, same_time.append_column("sequence", pa.array([0]))) == ["u"]


def test_an_event_on_an_item_counts_less_after_earlier_ones_in_the_state():
    first = states(SHOP, event("u", "a", "purchase", 2 * HOUR))
    both = fold(first, events_table(event("u", "a", "purchase")), SHOP, REFERENCE, CONFIG)
    # 2^(−1/720) + 1 / (1 + ln 2) = 0.9990 + 0.5906
    assert both.rows["long"].tolist() == pytest.approx([0.99904 + 0.59062], abs=1e-4)
    assert both.rows["count"].tolist() == [2]


def test_drift_names_the_users_who_differ():
    kept = states(SHOP, event("u", "a", "view"), event("v", "b", "view"))
    fresh = states(SHOP, event("u", "a", "view"), event("v", "b", "cart"))
    drift = Drift()
    assert drift.add(kept, fresh, CONFIG) == ["v"]
    assert (drift.compared, drift.users) == (2, 1)
