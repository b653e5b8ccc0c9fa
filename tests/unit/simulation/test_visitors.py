"""Visitors respond to many lists as they respond to one, and stop looking for what they have bought."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from services.simulation.config import ShopConfig
from services.simulation.recovery import attraction
from services.simulation.shop import SimulatedShop
from services.simulation.visitors import Sessions, Visitors

END = datetime(2026, 11, 20, tzinfo=UTC)
WHEN = ShopConfig(end=END).end_us - 3 * 86_400_000_000


@pytest.fixture(scope="module")
def shop() -> SimulatedShop:
    return SimulatedShop(ShopConfig(end=END, users=1_100, items=400, seed=5))


def sessions(visitors: Visitors, best: bool) -> Sessions:
    """Every user is shown his ten best, or his ten worst, items."""
    user = np.arange(1_100)
    time = np.full(len(user), WHEN)
    order = np.argsort(visitors.utility(user, time), axis=1)
    return Sessions(user, time, order[:, :-11:-1] if best else order[:, :10])


def test_better_lists_are_clicked_and_bought_more(shop: SimulatedShop) -> None:
    counts = {}
    for best in (True, False):
        visitors = Visitors(shop)
        events = visitors.meet(sessions(visitors, best), 0)
        counts[best] = dict(events["type"].value_counts().iter_rows())
        assert counts[best]["impression"] == 11_000
        assert events["event_id"].n_unique() == len(events)
    assert counts[True]["click"] > 4 * counts[False]["click"]
    assert counts[True]["purchase"] > 4 * counts[False].get("purchase", 1)


def test_clicks_come_as_often_as_the_utility_says(shop: SimulatedShop) -> None:
    visitors = Visitors(shop)
    shown = sessions(visitors, best=True)
    utility = np.take_along_axis(visitors.utility(shown.user, shown.time_us), shown.items, axis=1)
    expected = (attraction(utility) * (1.0 + np.arange(10)) ** -shop.config.position_bias).sum()
    clicks = (visitors.meet(shown, 0)["type"] == "click").sum()
    assert abs(clicks - expected) < 4 * np.sqrt(expected)


def test_rounds_differ_and_repeat(shop: SimulatedShop) -> None:
    frames = []
    for round in (0, 0, 1):
        visitors = Visitors(shop)
        frames.append(visitors.meet(sessions(visitors, best=True), round).select("user_id", "item_id", "type"))
    assert frames[0].equals(frames[1]) and not frames[0].equals(frames[2])


def test_who_bought_what_he_looked_for_looks_no_more(shop: SimulatedShop) -> None:
    visitors = Visitors(shop)
    shown = sessions(visitors, best=True)
    before = visitors.utility(shown.user, shown.time_us)
    bought = visitors.meet(shown, 0).filter(pl.col("type") == "purchase")
    after = visitors.utility(shown.user, shown.time_us)
    changed = np.flatnonzero((before != after).any(axis=1))
    names = {f"u{user:07}" for user in changed.tolist()}
    assert len(names) > 0 and names <= set(bought["user_id"])


def test_empty_places_are_not_shown(shop: SimulatedShop) -> None:
    shown = Sessions(np.array([3]), np.array([WHEN]), np.array([[7, -1, -1]]))
    events = Visitors(shop).meet(shown, 0).filter(pl.col("type") == "impression")
    assert events["item_id"].to_list() == ["p0000007"]
