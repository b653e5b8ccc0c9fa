"""The hidden taste is what drives the visible behaviour, and position bias is what was configured."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from services.core.errors import NotFound
from services.simulation.config import ShopConfig
from services.simulation.engagement import engage, examination_propensity
from services.simulation.intents import Intents
from services.simulation.pages import Impressions
from services.simulation.recovery import average_ranks, taste_recovery
from services.simulation.shop import SimulatedShop
from services.simulation.tastes import draw_tastes


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(average_ranks(x[None, :])[0], average_ranks(y[None, :])[0])[0, 1])


def utility_of(shop: SimulatedShop, rows: pl.DataFrame) -> np.ndarray:
    """Hidden utility of each (user, item) row."""
    users, items = rows["user_id"].unique().sort(), rows["item_id"].unique().sort()
    matrix = shop.true_affinity(users.to_list(), items.to_list())
    return matrix[users.search_sorted(rows["user_id"]), items.search_sorted(rows["item_id"])]


def test_clicked_categories_reveal_the_hidden_categories(
    shop: SimulatedShop, events: pl.DataFrame, items: pl.DataFrame
) -> None:
    leaves = items.select("item_id", name=pl.col("categories").list.last())
    clicks = events.filter(pl.col("type") == "click").join(leaves, on="item_id")
    counts = clicks.group_by("user_id", "name").len().sort("user_id", "name")
    portraits: dict[str, dict[str, float]] = {}
    for user, name, count in counts.iter_rows():
        portraits.setdefault(user, {})[name] = count
    found = taste_recovery(portraits, shop.tastes())
    assert found.users > 0.8 * shop.config.users
    assert found.spearman > 0.4
    shuffled = dict(zip(portraits, reversed(portraits.values()), strict=True))
    assert abs(taste_recovery(shuffled, shop.tastes()).spearman) < 0.1


@pytest.mark.parametrize(("kind", "column", "least"), [("view", "dwell_ms", 0.3), ("view", "depth", 0.25)])
def test_attention_follows_hidden_utility(
    shop: SimulatedShop, events: pl.DataFrame, kind: str, column: str, least: float
) -> None:
    rows = events.filter(pl.col("type") == kind)
    assert correlation(utility_of(shop, rows), rows[column].to_numpy()) > least


def test_stars_follow_hidden_utility(shop: SimulatedShop, events: pl.DataFrame) -> None:
    rows = events.filter(pl.col("rating").is_not_null())
    assert correlation(utility_of(shop, rows), rows["rating"].to_numpy()) > 0.2


def test_hidden_products_are_the_disliked_ones(shop: SimulatedShop, events: pl.DataFrame) -> None:
    hidden = utility_of(shop, events.filter(pl.col("type") == "hide")).mean()
    assert hidden < utility_of(shop, events.filter(pl.col("type") == "impression")).mean() - 0.5


def test_click_rates_at_each_position_are_the_configured_propensities(shop: SimulatedShop, config: ShopConfig) -> None:
    """One user, one product, shown 40,000 times at each position: nothing but examination differs."""
    biased = replace(config, position_bias=1.0)
    position = np.repeat(np.arange(5), 40_000)
    nothing, user = np.full(len(position), -1), np.zeros(len(position), dtype=np.int64)
    tastes = draw_tastes(biased, shop.catalogue, 0)
    favourite = int(np.argmax(shop.true_affinity(["u0000000"], [f"p{i:07}" for i in range(config.items)])))
    shown = Impressions(np.arange(len(position)), position, np.full(len(position), favourite))
    rng = np.random.default_rng(5)
    clicked = engage(biased, shop.catalogue, tastes, user, nothing, nothing, shown, rng).clicks.impression
    rate = np.bincount(position[clicked], minlength=5) / 40_000
    np.testing.assert_allclose(rate / rate[0], 1 / (1 + np.arange(5)), rtol=0.06)


def test_propensity_is_one_at_the_top_and_one_everywhere_without_bias() -> None:
    np.testing.assert_allclose(examination_propensity(np.array([0, 1, 3]), 2.0), [1.0, 0.25, 0.0625])
    np.testing.assert_allclose(examination_propensity(np.array([0, 1, 3]), 0.0), [1.0, 1.0, 1.0])


def test_an_intent_is_active_from_its_start_until_its_end() -> None:
    intents = Intents(np.array([[4, 9]]), np.array([[100, 150]]), np.array([[200, 160]]))
    time = np.array([99, 100, 155, 160, 200])
    slot = intents.active(np.zeros(5, dtype=np.int64), time)
    assert intents.leaf_of(np.zeros(5, dtype=np.int64), slot).tolist() == [-1, 4, 9, 4, -1]


def test_what_a_user_looks_for_now_lifts_only_that_category(shop: SimulatedShop, items: pl.DataFrame) -> None:
    looking = shop.tastes().drop_nulls("intent").row(0, named=True)
    ids = items["item_id"].to_list()
    before = shop.true_affinity([looking["user_id"]], ids)
    now = shop.true_affinity([looking["user_id"]], ids, at=shop.config.end)
    lifted = np.isclose(now - before, 1.6, atol=1e-4)[0]
    assert lifted.tolist() == (items["categories"].list.last() == looking["intent"]).to_list()


def test_tastes_are_sparse_and_weights_sum_to_one(shop: SimulatedShop) -> None:
    tastes = shop.tastes()
    assert len(tastes) == shop.config.users
    assert tastes["categories"].list.len().is_between(3, 7).all()
    np.testing.assert_allclose(tastes["category_weights"].list.sum(), 1.0, atol=1e-5)


def test_users_of_several_blocks_get_their_own_affinities_in_the_order_asked(shop: SimulatedShop) -> None:
    items = ["p0000005", "p0000001"]
    together = shop.true_affinity(["u0001299", "u0000000", "u0000700"], items)
    alone = [shop.true_affinity([user], items)[0] for user in ("u0001299", "u0000000", "u0000700")]
    np.testing.assert_array_equal(together, np.stack(alone))


@pytest.mark.parametrize("wrong", ["u0001300", "u1", "x0000001", "u000000a", ""])
def test_a_user_of_another_shop_is_not_found(shop: SimulatedShop, wrong: str) -> None:
    with pytest.raises(NotFound, match="no user"):
        shop.true_affinity([wrong], ["p0000001"])


def test_a_response_has_an_impression_for_each_item_in_order_and_repeats_exactly(shop: SimulatedShop) -> None:
    ranked = ["p0000004", "p0000002", "p0000009"]
    now = shop.config.end + timedelta(hours=1)
    events = shop.respond("u0000042", ranked, now, request_id="req-7")
    shown = [event for event in events if event["type"] == "impression"]
    assert [event["item_id"] for event in shown] == ranked
    assert [event["properties"]["position"] for event in shown] == [0, 1, 2]
    assert {event["request_id"] for event in events if "request_id" in event} == {"req-7"}
    assert events == shop.respond("u0000042", ranked, now, request_id="req-7")
    other = shop.respond("u0000042", ranked, now + timedelta(seconds=1))
    assert not {event["event_id"] for event in events} & {event["event_id"] for event in other}


def test_users_respond_more_to_what_they_like(shop: SimulatedShop, items: pl.DataFrame) -> None:
    ids = items["item_id"].to_list()
    users = [f"u{number:07}" for number in range(60)]
    order = np.argsort(-shop.true_affinity(users, ids), axis=1)
    clicks = {"best": 0, "worst": 0}
    for user, row in zip(users, order, strict=True):
        for name, chosen in (("best", row[:10]), ("worst", row[-10:])):
            events = shop.respond(user, [ids[i] for i in chosen], shop.config.end)
            clicks[name] += sum(event["type"] == "click" for event in events)
    assert clicks["best"] > 5 * clicks["worst"]
