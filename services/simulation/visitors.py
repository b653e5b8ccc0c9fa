"""Users who come back and meet lists that somebody else ranked: the world of a closed loop, many sessions at a time."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from services.core.types import EventType
from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, generator
from services.simulation.event_frames import TYPES, contract_frame
from services.simulation.history import Shown, event_rows, react
from services.simulation.ids import user_ids
from services.simulation.intents import Intents
from services.simulation.responses import lists_shown
from services.simulation.shop import SimulatedShop
from services.simulation.tastes import BLOCK_USERS, Tastes
from services.simulation.utility import utility


@dataclass(frozen=True)
class Sessions:
    """S users (numbers of the shop, ascending, each once), when they come, and the K items each is shown (−1: none)."""

    user: NDArray[np.int64]
    time_us: NDArray[np.int64]
    items: NDArray[np.int64]


class Visitors:
    """The users of a shop with their intents as they stand; who buys what he was looking for looks for it no more.

    Chance is drawn by round, block and place in the list: two visitors of one shop that are shown different lists have
    the same luck, so that lists are compared with less noise.
    """

    def __init__(self, shop: SimulatedShop) -> None:
        self._shop = shop
        self._intents: dict[int, Intents] = {}

    def utility(self, user: NDArray[np.int64], time_us: NDArray[np.int64]) -> NDArray[np.float32]:
        """(S, items): the hidden utility of every item, with what each user is looking for at that time."""
        found = np.empty((len(user), self._shop.config.items), np.float32)
        every = np.arange(self._shop.config.items)[None, :]
        for block in np.unique(user // BLOCK_USERS).tolist():
            tastes, intents = self._truth(block)
            rows = np.flatnonzero(user // BLOCK_USERS == block)
            row = user[rows] - tastes.first_user
            wanted = intents.leaf_of(row, intents.active(row, time_us[rows]))[:, None]
            found[rows] = utility(tastes, self._shop.catalogue, row[:, None], every, wanted)
        return found

    def meet(self, sessions: Sessions, round: int) -> pl.DataFrame:
        """The events (EVENT_SCHEMA) of one session of each of the users; event ids are unique by round."""
        frames = []
        for block in np.unique(sessions.user // BLOCK_USERS).tolist():
            chosen = sessions.user // BLOCK_USERS == block
            tastes, intents = self._truth(block)
            row = sessions.user[chosen] - tastes.first_user
            shown = lists_shown(tastes, intents, row, sessions.time_us[chosen], sessions.items[chosen])
            config, catalogue = self._shop.config, self._shop.catalogue
            rng = generator(config.seed, Stream.RESPONSE, round, block)
            rows = event_rows(catalogue, shown, react(config, catalogue, shown, rng), rng).sorted()
            names = user_ids(tastes.first_user + np.arange(len(tastes)))
            frames.append(contract_frame(rows, names, prefix=f"{round}-"))
            self._intents[block] = _fulfilled(intents, shown, catalogue, rows)
        return pl.concat(frames)

    def _truth(self, block: int) -> tuple[Tastes, Intents]:
        tastes, intents = self._shop.truth(block)
        return tastes, self._intents.setdefault(block, intents)


def _fulfilled(intents: Intents, shown: Shown, catalogue: Catalogue, rows: pl.DataFrame) -> Intents:
    """The intents, those ended whose kind of product was bought."""
    bought = rows.filter(pl.col("type") == TYPES.index(EventType.PURCHASE))
    visit, item = bought["visit"].to_numpy(), bought["item"].to_numpy()
    found = catalogue.leaf[item] == shown.intent_leaf[visit]
    user, slot = shown.visits.user[visit[found]], shown.visits.intent[visit[found]]
    ends = intents.end_us.copy()
    ends[user, slot] = shown.visits.start_us[visit[found]]
    return replace(intents, end_us=ends)
