"""How a simulated user responds to a list that someone else ranked: the other half of a feedback loop."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import numpy as np
import polars as pl

from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, generator
from services.simulation.config import ShopConfig, microseconds_of
from services.simulation.event_frames import contract_frame
from services.simulation.history import Shown, event_rows, react
from services.simulation.ids import user_ids
from services.simulation.intents import Intents
from services.simulation.lifecycle import Visits
from services.simulation.pages import Impressions, Pages, Surface
from services.simulation.tastes import Tastes


@dataclass(frozen=True)
class RankedList:
    """A list shown to a user (a row of `tastes`) at a time, under the request id that made it."""

    row: int
    items: np.ndarray
    now: datetime
    request_id: str | None = None


def respond(
    config: ShopConfig, catalogue: Catalogue, tastes: Tastes, intents: Intents, ranked: RankedList
) -> pl.DataFrame:
    """The events (EVENT_SCHEMA) that the list causes: an impression for each item, and what the user does with it.

    Ratings and reviews carry the later times at which they are given. The same user, items and time always get the
    same response; event ids are unique to it. Raises InvalidInput for a time without zone.
    """
    now_us = microseconds_of(ranked.now)
    user = tastes.first_user + ranked.row
    key = blake2b(f"{user}/{now_us}/{ranked.items.tolist()}".encode(), digest_size=8).digest()
    rng = generator(config.seed, Stream.RESPONSE, int.from_bytes(key, "big"))
    shown = lists_shown(tastes, intents, np.array([ranked.row]), np.array([now_us]), ranked.items[None, :])
    rows = event_rows(catalogue, shown, react(config, catalogue, shown, rng), rng).sorted()
    names = user_ids(tastes.first_user + np.arange(len(tastes)))
    events = contract_frame(rows, names, prefix=f"{key.hex()}-")
    if ranked.request_id is None:
        return events
    given = pl.when(pl.col("request_id").is_not_null()).then(pl.lit(ranked.request_id))
    return events.with_columns(request_id=given)


def lists_shown(tastes: Tastes, intents: Intents, row: np.ndarray, time_us: np.ndarray, items: np.ndarray) -> Shown:
    """One visit with one page for each of the rows of `tastes`; `items` [rows, places], -1 for an empty place."""
    slot = intents.active(row, time_us)
    page, position = np.nonzero(items >= 0)
    n = len(row)
    none = np.full(n, -1)
    return Shown(
        tastes=tastes,
        visits=Visits(row, time_us, slot),
        pages=Pages(np.arange(n), np.full(n, int(Surface.HOME)), none, none, none),
        impressions=Impressions(page, position, items[page, position]),
        intent_leaf=intents.leaf_of(row, slot),
    )
