"""The whole history of one block of users: visits → pages → impressions → engagement → events."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from services.core.types import EventType
from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, generator
from services.simulation.config import MICROSECONDS, ShopConfig
from services.simulation.engagement import Clicks, Engagement, Schedule, engage, schedule, settle_purchases
from services.simulation.event_frames import CHECKOUT, ORDERS, EventRows, contract_frame
from services.simulation.ids import user_ids
from services.simulation.intents import Intents
from services.simulation.lifecycle import Visits, draw_visits
from services.simulation.pages import HotList, Impressions, Pages, Surface, draw_impressions, draw_pages
from services.simulation.queries import draw_queries
from services.simulation.reviews import write_reviews
from services.simulation.tastes import BLOCK_USERS, Tastes

FIRST_IMPRESSION_US = 400_000
IMPRESSION_US = 40_000
LOAD_US = 350_000
HIDE_US = 3_000_000


@dataclass(frozen=True)
class Shown:
    """What some users were shown: visits, their pages, the pages' impressions and the intent behind each page."""

    tastes: Tastes
    visits: Visits
    pages: Pages
    impressions: Impressions
    intent_leaf: np.ndarray  # [pages], -1 for none

    @property
    def user_of_impression(self) -> np.ndarray:
        return self.visits.user[self.visit_of_impression]

    @property
    def visit_of_impression(self) -> np.ndarray:
        return self.pages.visit[self.impressions.page]


def block_events(
    config: ShopConfig, catalogue: Catalogue, hot: HotList, tastes: Tastes, intents: Intents
) -> pl.DataFrame:
    """All events of the block's users in EVENT_SCHEMA, sorted by user, then time."""
    rng = generator(config.seed, Stream.VISIT, tastes.first_user // BLOCK_USERS)
    visits = draw_visits(config, intents, rng)
    pages = draw_pages(tastes, intents, visits, rng)
    impressions = draw_impressions(config, catalogue, hot, tastes, visits, pages, rng)
    slot = intents.active(visits.user, visits.start_us)
    shown = Shown(tastes, visits, pages, impressions, intents.leaf_of(visits.user, slot)[pages.visit])
    engagement = react(config, catalogue, shown, rng)
    needless = _visits_after_fulfilment(shown, catalogue, engagement.clicks)
    wasted = needless[shown.visit_of_impression[engagement.clicks.impression]]
    clicks = replace(engagement.clicks, buy=engagement.clicks.buy & ~wasted)
    rows = event_rows(catalogue, shown, replace(engagement, clicks=clicks), rng).sorted()
    kept = rows.filter(~pl.lit(pl.Series(needless)).gather("visit") & (pl.col("time") <= config.end_us))
    return contract_frame(kept, user_ids(tastes.first_user + np.arange(len(tastes))))


def react(config: ShopConfig, catalogue: Catalogue, shown: Shown, rng: np.random.Generator) -> Engagement:
    """How the users of `shown` react to their impressions."""
    page = shown.impressions.page
    return engage(
        config,
        catalogue,
        shown.tastes,
        shown.user_of_impression,
        shown.intent_leaf[page],
        shown.pages.surface[page],
        shown.impressions,
        rng,
    )


def _visits_after_fulfilment(shown: Shown, catalogue: Catalogue, clicks: Clicks) -> np.ndarray:
    """Visits that never happened, because an earlier one bought what the user was looking for: bool [visits]."""
    visits = shown.visits
    visit = shown.visit_of_impression[clicks.impression]
    found = clicks.buy & (
        catalogue.leaf[shown.impressions.item[clicks.impression]]
        == shown.intent_leaf[shown.impressions.page[clicks.impression]]
    )
    slots = int(visits.intent.max(initial=-1)) + 1
    first_success = np.full((len(shown.tastes), slots + 1), len(visits))
    np.minimum.at(first_success, (visits.user[visit[found]], visits.intent[visit[found]]), visit[found])
    on_mission = visits.intent >= 0
    return on_mission & (np.arange(len(visits)) > first_success[visits.user, visits.intent])


def event_rows(catalogue: Catalogue, shown: Shown, engagement: Engagement, rng: np.random.Generator) -> EventRows:
    """Rows of every event type for what was shown and how users reacted."""
    clicks = engagement.clicks
    times = schedule(shown.visits.start_us, shown.pages, shown.impressions.page[clicks.impression], clicks)
    rows = EventRows()
    _add_pages(rows, shown, times, engagement.hidden, rng)
    _add_clicks(rows, catalogue, shown, times, clicks)
    _add_purchases(rows, catalogue, shown, times, clicks, rng)
    return rows


def _add_pages(rows: EventRows, shown: Shown, times: Schedule, hidden: np.ndarray, rng: np.random.Generator) -> None:
    pages, seen = shown.pages, shown.impressions
    page, query = draw_queries(pages, rng)
    visit = pages.visit[page]
    rows.add(
        EventType.SEARCH,
        Surface.SEARCH,
        shown.visits.user[visit],
        times.page_us[page],
        visit=visit,
        page=page,
        query=query,
    )
    time = times.page_us[seen.page] + FIRST_IMPRESSION_US + IMPRESSION_US * seen.position
    for kind, index, delay in (
        (EventType.IMPRESSION, slice(None), 0),
        (EventType.HIDE, hidden, HIDE_US),
    ):
        rows.add(
            kind,
            pages.surface[seen.page[index]],
            shown.user_of_impression[index],
            time[index] + delay,
            visit=shown.visit_of_impression[index],
            page=seen.page[index],
            item=seen.item[index],
            **({"position": seen.position[index]} if kind == EventType.IMPRESSION else {}),
        )


def _add_clicks(rows: EventRows, catalogue: Catalogue, shown: Shown, times: Schedule, clicks: Clicks) -> None:
    """Clicks, the product views they open, and what was marked or put into the cart during the view."""
    dwell_us = (clicks.dwell_seconds * MICROSECONDS).astype(np.int64)
    index = clicks.impression
    page = shown.impressions.page[index]
    common = {"visit": shown.pages.visit[page], "page": page, "item": shown.impressions.item[index]}
    user, opened = shown.user_of_impression[index], times.click_us + LOAD_US
    position = shown.impressions.position[index]
    rows.add(EventType.CLICK, shown.pages.surface[page], user, times.click_us, position=position, **common)
    rows.add(EventType.VIEW, Surface.PRODUCT, user, opened, dwell_ms=dwell_us // 1_000, depth=clicks.depth, **common)
    for kind, mark, share in ((EventType.FAVOURITE, clicks.favourite, 0.6), (EventType.CART, clicks.cart, 0.9)):
        marked = {name: values[mark] for name, values in common.items()}
        if kind == EventType.CART:
            marked |= {"quantity": 1, "price": catalogue.price[marked["item"]]}
        rows.add(kind, Surface.PRODUCT, user[mark], opened[mark] + (share * dwell_us[mark]).astype(np.int64), **marked)


def _add_purchases(
    rows: EventRows, catalogue: Catalogue, shown: Shown, times: Schedule, clicks: Clicks, rng: np.random.Generator
) -> None:
    """Purchases at the visit's checkout; ratings and reviews some days later."""
    user, item = shown.user_of_impression[clicks.impression], shown.impressions.item[clicks.impression]
    visit = shown.visit_of_impression[clicks.impression]
    bought = settle_purchases(catalogue, shown.tastes, user, item, visit, clicks, rng)
    page = shown.impressions.page[clicks.impression[bought.click]]
    visit = visit[bought.click]
    user, item, time = user[bought.click], item[bought.click], times.checkout_us[visit]
    rows.add(
        EventType.PURCHASE,
        CHECKOUT,
        user,
        time,
        visit=visit,
        page=page,
        item=item,
        quantity=bought.quantity,
        price=bought.price,
    )
    for kind, chosen in (
        (EventType.RATING, (bought.rating > 0) & ~bought.reviewed),
        (EventType.REVIEW, (bought.rating > 0) & bought.reviewed),
    ):
        stars = bought.rating[chosen]
        texts = {"text": write_reviews(catalogue, item[chosen], stars, rng)} if kind == EventType.REVIEW else {}
        later = time[chosen] + bought.rated_after_us[chosen]
        rows.add(kind, ORDERS, user[chosen], later, visit=visit[chosen], item=item[chosen], rating=stars, **texts)
