"""Held items, bought and hidden lists."""

from math import log

import numpy as np
import pytest
from profile_rows import AS_OF, DAY, HOUR, batch, catalogue_of, event, item, states

from services.profiles.config import ProfileConfig
from services.profiles.events import TYPES
from services.profiles.items import held_items, listed

CONFIG = ProfileConfig()
SHOP = catalogue_of(*(item(name) for name in "abcd"))


def held(*rows: dict):
    found = states(SHOP, *rows)
    return found, held_items(found, SHOP, np.full(found.users, 4.0), CONFIG)


def test_the_weights_of_a_users_events_on_an_item_add_up():
    # view 60 days ago: 0.1 / 2 = 0.05; purchase now: 1 / (1 + ln 2) = 0.5906
    _, found = held(event("u", "a", "view", 60 * DAY), event("u", "a", "purchase"), event("v", "a", "hide"))
    assert found.user.tolist() == [0, 1]
    assert found.weight.tolist() == pytest.approx([0.05 + 1 / (1 + log(2)), -1.0])


def test_an_item_is_remembered_by_its_strongest_event_and_the_time_of_its_newest():
    _, found = held(event("u", "a", "purchase", DAY), event("u", "a", "view", HOUR))
    assert [TYPES[code] for code in found.type] == ["purchase"]
    assert found.time.tolist() == [AS_OF - HOUR]


def test_items_that_were_merely_shown_are_not_held():
    shown, found = held(event("u", "a", "impression"), event("u", "b", "view"), event("u", None, "search"))
    assert shown.item_ids.take(found.item).to_pylist() == ["b"]


def test_a_neutral_opinion_still_holds_the_item():
    _, found = held(event("u", "a", "rating", rating=3))  # ½ + (3 − 4) / 2 = 0
    assert (found.item.tolist(), found.weight.tolist()) == ([0], [0.0])


def test_an_item_the_catalogue_does_not_hold_is_kept_by_its_id():
    events, found = held(event("u", "zz", "purchase"))
    assert events.item_ids.to_pylist() == ["zz"]
    assert (found.item.tolist(), found.row.tolist()) == ([0], [-1])


def test_bought_items_are_distinct_and_newest_first():
    events = states(
        SHOP,
        event("u", "a", "purchase", 3 * DAY),
        event("u", "b", "purchase", 2 * DAY),
        event("u", "a", "purchase", DAY),
        event("u", "c", "review", HOUR, rating=5),
        event("u", "d", "view"),
        event("v", "d", "purchase"),
        event("v", "d", "hide"),
    )
    user, code = listed(events, "bought")
    named = events.item_ids.take(code).to_pylist()
    assert list(zip(user.tolist(), named, strict=True)) == [(0, "c"), (0, "a"), (0, "b"), (1, "d")]
    user, code = listed(events, "hid")
    assert list(zip(user.tolist(), events.item_ids.take(code).to_pylist(), strict=True)) == [(1, "d")]


def test_items_bought_at_the_same_time_are_in_the_order_of_their_ids():
    events = states(SHOP, *(event("u", name, "purchase") for name in "cab"))
    _, code = listed(events, "bought")
    assert events.item_ids.take(code).to_pylist() == ["a", "b", "c"]


def test_users_and_items_are_in_order_whatever_the_rows_order():
    events = batch(SHOP, event("v", "b", "view"), event("u", "d", "view", HOUR), event("u", "a", "view", DAY))
    assert events.user_ids.to_pylist() == ["u", "v"]
    assert events.item_ids.take(events.item).to_pylist() == ["a", "d", "b"]
    assert events.row.tolist() == [0, 3, 1]


def test_no_events_make_an_empty_batch():
    events, found = held()
    assert (events.users, len(events.rows), len(found.user)) == (0, 0, 0)
