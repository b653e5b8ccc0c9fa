"""What users are shown: pages of a visit, and the products in their slots."""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, draw_columns, generator, row_cdf
from services.simulation.config import DAY, ShopConfig
from services.simulation.intents import Intents
from services.simulation.lifecycle import Visits
from services.simulation.parameters import SessionHabits, behaviour
from services.simulation.tastes import Tastes
from services.simulation.vocabulary import vocabulary

SPARE_SLOTS = 6  # drawn beyond the page's size, because duplicates and unpublished products fall out
MOST_PAGES = 8


class Surface(IntEnum):
    HOME = 0
    SEARCH = 1
    CATEGORY = 2
    PRODUCT = 3


@dataclass(frozen=True)
class Pages:
    """Arrays [pages], ordered by visit. `leaf` is what the page is about; brand and colour are in the query, or -1."""

    visit: np.ndarray
    surface: np.ndarray
    leaf: np.ndarray
    query_brand: np.ndarray
    query_colour: np.ndarray

    def __len__(self) -> int:
        return len(self.visit)


@dataclass(frozen=True)
class Impressions:
    """Arrays [impressions], ordered by page, then position."""

    page: np.ndarray
    position: np.ndarray
    item: np.ndarray


def draw_pages(tastes: Tastes, intents: Intents, visits: Visits, rng: np.random.Generator) -> Pages:
    """The pages of each visit: a mission page first, then more of the same or something else the user likes."""
    habits = behaviour().session
    count = np.minimum(rng.geometric(1.0 / habits.mean_pages, len(visits)), MOST_PAGES)
    visit = np.repeat(np.arange(len(visits)), count)
    first = np.r_[True, visit[1:] != visit[:-1]] if len(visit) else np.zeros(0, dtype=bool)
    user, intent = visits.user, visits.intent
    taste_cdf = row_cdf(tastes.category)
    mission = draw_columns(taste_cdf, user, rng.random(len(visits)))
    mission = np.where(intent >= 0, intents.leaf_of(user, intent), mission)
    elsewhere = draw_columns(taste_cdf, user[visit], rng.random(len(visit)))
    stays = first | (rng.random(len(visit)) < 0.75)
    pages = Pages(
        visit=visit,
        surface=_surfaces(habits, first, intent[visit] >= 0, rng),
        leaf=np.where(stays, mission[visit], elsewhere),
        query_brand=np.full(len(visit), -1),
        query_colour=np.full(len(visit), -1),
    )
    return _with_query_words(habits, tastes, user[visit], pages, rng)


def _surfaces(habits: SessionHabits, first: np.ndarray, on_mission: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cdf = row_cdf(np.array([habits.first_surface, habits.later_surface, habits.intent_surface]))
    row = np.where(first, np.where(on_mission, 2, 0), 1)
    return draw_columns(cdf, row, rng.random(len(first)))


def _with_query_words(
    habits: SessionHabits, tastes: Tastes, user: np.ndarray, pages: Pages, rng: np.random.Generator
) -> Pages:
    """Puts a liked brand or colour into some of the searches, where the category has them."""
    words = vocabulary()
    search = pages.surface == Surface.SEARCH
    n = len(pages)
    brand_cdf = row_cdf(np.maximum(tastes.brand, 0.0) + 1e-9)
    brand = draw_columns(brand_cdf, user, rng.random(n))
    sold = words.brand_in_department[words.leaf_department[pages.leaf], brand]
    colour = draw_columns(row_cdf(tastes.colour + 1e-9), user, rng.random(n))
    says_brand = search & sold & (rng.random(n) < habits.query_brand)
    says_colour = search & words.leaf_has_colour[pages.leaf, colour] & (rng.random(n) < habits.query_colour)
    return replace(pages, query_brand=np.where(says_brand, brand, -1), query_colour=np.where(says_colour, colour, -1))


@dataclass(frozen=True)
class HotList:
    """The products the shop promotes on its home page, a new set each week."""

    item: np.ndarray  # [weeks, hot_items]

    @classmethod
    def of(cls, config: ShopConfig, catalogue: Catalogue) -> "HotList":
        rng = generator(config.seed, Stream.HOT_LIST)
        shape = (config.days // 7 + 2, behaviour().session.hot_items)
        return cls(catalogue.draw_from_leaf(np.full(shape, -1), rng.random(shape)))

    def draw(self, config: ShopConfig, time_us: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        week = np.clip((time_us - config.begin_us) // (7 * DAY), 0, len(self.item) - 1)
        return self.item[week, (uniform * self.item.shape[1]).astype(np.int64)]


def draw_impressions(
    config: ShopConfig,
    catalogue: Catalogue,
    hot: HotList,
    tastes: Tastes,
    visits: Visits,
    pages: Pages,
    rng: np.random.Generator,
) -> Impressions:
    """Fills the pages: popular products first, those that match the query before others, none twice on a page."""
    slots = config.page_size + SPARE_SLOTS
    shape = (len(pages), slots)
    time_us = visits.start_us[pages.visit]
    leaf_PS = _slot_leaves(tastes, visits.user[pages.visit], pages, rng, shape)
    item_PS = catalogue.draw_from_leaf(leaf_PS, rng.random(shape))
    promoted = (pages.surface == Surface.HOME)[:, None] & (rng.random(shape) < behaviour().session.hot_share)
    item_PS = np.where(promoted, hot.draw(config, time_us[:, None], rng.random(shape)), item_PS)
    item_PS = _matches_first(catalogue, pages, item_PS)
    shown = ~_repeated(item_PS) & (catalogue.published_us[item_PS] <= time_us[:, None])
    position = np.cumsum(shown, axis=1) - 1
    shown &= position < config.page_size
    page, slot = np.nonzero(shown)
    return Impressions(page, position[page, slot], item_PS[page, slot].astype(np.int64))


def _slot_leaves(
    tastes: Tastes, user: np.ndarray, pages: Pages, rng: np.random.Generator, shape: tuple[int, int]
) -> np.ndarray:
    """The leaf each slot draws from; -1 is the whole shop. Home pages mix the shop's favourites with the user's."""
    user_PS = np.broadcast_to(user[:, None], shape)
    taste = draw_columns(row_cdf(tastes.category), user_PS.ravel(), rng.random(user_PS.size)).reshape(shape)
    home = np.where(rng.random(shape) < behaviour().session.taste_share, taste, -1)
    return np.where((pages.surface == Surface.HOME)[:, None], home, pages.leaf[:, None])


def _matches_first(catalogue: Catalogue, pages: Pages, item_PS: np.ndarray) -> np.ndarray:
    brand = (pages.query_brand >= 0)[:, None] & (catalogue.brand[item_PS] == pages.query_brand[:, None])
    colour = (pages.query_colour >= 0)[:, None] & (catalogue.colour[item_PS] == pages.query_colour[:, None])
    order = np.argsort(-(brand.astype(np.int8) + colour), axis=1, kind="stable")
    return np.take_along_axis(item_PS, order, axis=1)


def _repeated(item_PS: np.ndarray) -> np.ndarray:
    """True where an item already stands in an earlier slot of its page."""
    order = np.argsort(item_PS, axis=1, kind="stable")
    ordered = np.take_along_axis(item_PS, order, axis=1)
    again = np.zeros(item_PS.shape, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeated = np.empty_like(again)
    np.put_along_axis(repeated, order, again, axis=1)
    return repeated
