"""What users do with what they are shown: examine, click, view, cart, buy, hide, rate."""

from dataclasses import dataclass

import numpy as np

from services.simulation.catalogue import Catalogue
from services.simulation.chance import running_total_before, sigmoid
from services.simulation.config import DAY, MICROSECONDS, ShopConfig
from services.simulation.pages import Impressions, Pages, Surface
from services.simulation.parameters import behaviour
from services.simulation.tastes import Tastes
from services.simulation.utility import appeal, category_utility
from services.simulation.vocabulary import vocabulary

PAGE_SECONDS = 4.0
CHECKOUT_SECONDS = 60.0


def examination_propensity(position: np.ndarray, position_bias: float) -> np.ndarray:
    """Chance that a user looks at a position at all: 1 / (1 + position)^η."""
    return (1.0 + position) ** -position_bias


@dataclass(frozen=True)
class Clicks:
    """Arrays [clicks], ordered by page, then position; each click opens a product page that is viewed."""

    impression: np.ndarray
    think_seconds: np.ndarray
    dwell_seconds: np.ndarray
    depth: np.ndarray
    favourite: np.ndarray
    cart: np.ndarray
    buy: np.ndarray
    appeal: np.ndarray


@dataclass(frozen=True)
class Engagement:
    """Clicks with what followed, and the impressions (indices) that were hidden by the user."""

    clicks: Clicks
    hidden: np.ndarray


def engage(
    config: ShopConfig,
    catalogue: Catalogue,
    tastes: Tastes,
    user: np.ndarray,
    intent_leaf: np.ndarray,
    surface: np.ndarray,
    shown: Impressions,
    rng: np.random.Generator,
) -> Engagement:
    """Lets users meet their impressions. `user`, `intent_leaf` and `surface` are arrays [impressions]."""
    habits = behaviour()
    wanted = catalogue.leaf[shown.item] == intent_leaf
    liking = appeal(tastes, catalogue, user, shown.item)
    utility = liking + category_utility(tastes, catalogue, user, shown.item) + habits.utility.intent * wanted
    examined = rng.random(len(user)) < examination_propensity(shown.position, config.position_bias)
    clicked = examined & (rng.random(len(user)) < habits.click.probability(utility))
    hides = examined & ~clicked & (surface == Surface.HOME)
    hides &= rng.random(len(user)) < habits.hide.probability(utility)
    index = np.flatnonzero(clicked)
    return Engagement(_after_click(index, utility[index], wanted[index], liking[index], rng), np.flatnonzero(hides))


def _after_click(
    index: np.ndarray, utility: np.ndarray, wanted: np.ndarray, liking: np.ndarray, rng: np.random.Generator
) -> Clicks:
    habits, n = behaviour(), len(index)
    view = habits.view
    dwell = np.exp(view.dwell_base + view.dwell_slope * utility + view.dwell_noise * rng.normal(size=n))
    depth = sigmoid(view.depth_base + view.depth_slope * utility + view.depth_noise * rng.normal(size=n))
    cart = rng.random(n) < habits.cart.probability(utility, wanted)
    return Clicks(
        impression=index,
        think_seconds=1.5 + rng.exponential(4.0, n),
        dwell_seconds=np.clip(dwell, 0.8, view.dwell_max_seconds),
        depth=np.round(depth, 3),
        favourite=rng.random(n) < habits.favourite.probability(utility),
        cart=cart,
        buy=cart & (rng.random(n) < habits.purchase.probability(utility, wanted)),
        appeal=liking,
    )


@dataclass(frozen=True)
class Schedule:
    """When things happen, in microseconds: arrays [pages], [clicks] and, for the checkout, [visits]."""

    page_us: np.ndarray
    click_us: np.ndarray
    checkout_us: np.ndarray


def schedule(visit_start_us: np.ndarray, pages: Pages, page_of_click: np.ndarray, clicks: Clicks) -> Schedule:
    """Lays the pages of a visit, and the clicks of a page, one after the other."""
    busy = clicks.think_seconds + clicks.dwell_seconds
    on_page = np.bincount(page_of_click, weights=busy, minlength=len(pages))
    length = PAGE_SECONDS + on_page + np.where(pages.surface == Surface.SEARCH, 5.0, 0.0)
    page_us = visit_start_us[pages.visit] + _microseconds(running_total_before(pages.visit, length))
    click_us = page_us[page_of_click] + _microseconds(
        PAGE_SECONDS + running_total_before(page_of_click, busy) + clicks.think_seconds
    )
    stay = np.bincount(pages.visit, weights=length, minlength=len(visit_start_us))
    return Schedule(page_us, click_us, visit_start_us + _microseconds(stay + CHECKOUT_SECONDS))


def _microseconds(seconds: np.ndarray) -> np.ndarray:
    return (seconds * MICROSECONDS).astype(np.int64)


@dataclass(frozen=True)
class Purchases:
    """Arrays [purchases]; `rating` is 0 where the user gave none."""

    click: np.ndarray
    quantity: np.ndarray
    price: np.ndarray
    rating: np.ndarray
    reviewed: np.ndarray
    rated_after_us: np.ndarray


def settle_purchases(
    catalogue: Catalogue,
    tastes: Tastes,
    user: np.ndarray,
    item: np.ndarray,
    visit: np.ndarray,
    clicks: Clicks,
    rng: np.random.Generator,
) -> Purchases:
    """What carts become. `user`, `item` and `visit` are arrays [clicks] in order of time."""
    habits = behaviour()
    rating = habits.rating
    click = np.flatnonzero(clicks.buy)
    click = click[_one_of_a_kind(catalogue, user[click], item[click], visit[click], clicks.appeal[click])]
    n = len(click)
    consumable = vocabulary().leaf_consumable[catalogue.leaf[item[click]]]
    more = rng.geometric(1.0 - habits.quantity_more, n) - 1
    reduced = np.where(rng.random(n) < habits.discounted, rng.choice([0.95, 0.9, 0.85, 0.8], n), 1.0)
    mean = rating.base + rating.slope * clicks.appeal[click] + tastes.leniency[user[click]]
    stars = np.clip(np.round(mean + rating.noise * rng.normal(size=n)), 1, 5).astype(np.int64)
    return Purchases(
        click=click,
        quantity=np.where(consumable, 1 + more, 1),
        price=np.round(catalogue.price[item[click]] * reduced, 2),
        rating=np.where(rng.random(n) < rating.share, stars, 0),
        reviewed=rng.random(n) < rating.review_share,
        rated_after_us=(rng.uniform(2.0, 16.0, n) * DAY).astype(np.int64),
    )


def _one_of_a_kind(
    catalogue: Catalogue, user: np.ndarray, item: np.ndarray, visit: np.ndarray, liking: np.ndarray
) -> np.ndarray:
    """Which carts are bought: bool [carts].

    Consumables once an item and visit; what people collect, such as clothes, one of a category in a visit and no item
    twice; all else one of a category for good. In a visit the best liked is taken.
    """
    words, leaf = vocabulary(), catalogue.leaf[item].astype(np.int64)
    best_first = np.lexsort((-liking, visit))
    kind = np.select([words.leaf_consumable[leaf], words.leaf_collected[leaf]], [0, 1], default=2)
    choice = np.where(kind == 0, item, leaf)
    occasion = np.where(kind == 2, 0, visit + 1)
    kept = _first_of(best_first, user, kind, choice, occasion)
    return kept & ((kind != 1) | _first_of(best_first, user, kept, item))


def _first_of(order: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """True at the first row, in the given order, of each combination of keys."""
    first = np.zeros(len(order), dtype=bool)
    if len(order):
        rows = np.stack([np.asarray(key)[order] for key in keys], axis=1)
        first[order[np.unique(rows, axis=0, return_index=True)[1]]] = True
    return first
