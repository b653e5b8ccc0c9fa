"""Hidden short-term intents: for some days a user is looking for one kind of product."""

from dataclasses import dataclass

import numpy as np

from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, draw_cdf, draw_columns, generator, row_cdf
from services.simulation.config import DAY, ShopConfig
from services.simulation.parameters import behaviour
from services.simulation.tastes import BLOCK_USERS, Tastes
from services.simulation.vocabulary import vocabulary


@dataclass(frozen=True)
class Intents:
    """Arrays [users, slots]; an unused slot has leaf -1 and an empty span."""

    leaf: np.ndarray
    start_us: np.ndarray
    end_us: np.ndarray

    def active(self, user: np.ndarray, time_us: np.ndarray) -> np.ndarray:
        """The slot of the intent each user has at the time, -1 for none; the one that began last, where two overlap."""
        time = time_us[:, None]
        alive = (self.start_us[user] <= time) & (time < self.end_us[user])
        began = np.where(alive, self.start_us[user], np.iinfo(np.int64).min)
        slot = began.argmax(axis=1)
        return np.where(alive.any(axis=1), slot, -1)

    def leaf_of(self, user: np.ndarray, slot: np.ndarray) -> np.ndarray:
        return np.where(slot >= 0, self.leaf[user, slot], -1)


def draw_intents(config: ShopConfig, catalogue: Catalogue, tastes: Tastes) -> Intents:
    """Intents of one block: about one every `days_per_intent`, partly within the user's taste, partly outside it."""
    words, habits = vocabulary(), behaviour().users
    rng = generator(config.seed, Stream.INTENT, tastes.first_user // BLOCK_USERS)
    n = len(tastes)
    wanted = rng.poisson(config.days / habits.days_per_intent, n)
    slots = max(1, int(wanted.max()))
    used = np.arange(slots) < wanted[:, None]
    user = np.repeat(np.arange(n), slots)
    own = draw_columns(row_cdf(tastes.category), user, rng.random(n * slots))
    shop_wide = draw_cdf(row_cdf((words.leaf_weight * catalogue.leaf_stocked)[None, :])[0], rng.random(n * slots))
    leaf = np.where(rng.random(n * slots) < habits.intent_from_taste, own, shop_wide).reshape(n, slots)
    start = config.begin_us + (rng.random((n, slots)) * config.days * DAY).astype(np.int64)
    low, high = habits.intent_days
    length = (rng.uniform(low, high, (n, slots)) * DAY).astype(np.int64)
    return Intents(np.where(used, leaf, -1), start, np.where(used, start + length, start))
