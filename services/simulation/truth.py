"""The hidden truth as a frame, kept apart from what the shop tells the outside."""

import numpy as np
import polars as pl

from services.simulation.config import ShopConfig
from services.simulation.ids import user_ids
from services.simulation.intents import Intents
from services.simulation.tastes import Tastes
from services.simulation.vocabulary import vocabulary


def taste_frame(config: ShopConfig, tastes: Tastes, intents: Intents) -> pl.DataFrame:
    """One row a user: liked categories (leaf names), brands, styles and colours with weights, price level, intent.

    List columns come in pairs, `categories` with `category_weights` and so on, strongest first. `intent` is the leaf
    category the user is looking for at the shop's end, null for none; `intent_since` is when that began.
    """
    words = vocabulary()
    users = np.arange(len(tastes))
    slot = intents.active(users, np.full(len(users), config.end_us))
    looking = slot >= 0
    leaf = np.where(looking, intents.leaf_of(users, slot), 0)
    since = pl.Series(np.where(looking, intents.start_us[users, slot], 0)).cast(pl.Datetime("us", "UTC"))
    shown = pl.lit(pl.Series(looking))
    return pl.DataFrame(
        {
            "user_id": user_ids(tastes.first_user + users),
            **_pair("categories", "category_weights", words.leaf_names, tastes.category),
            **_pair("brands", "brand_weights", words.brand_names, tastes.brand),
            **_pair("styles", "style_weights", words.style_names, tastes.style),
            **_pair("colours", "colour_weights", words.colour_names, tastes.colour),
            "price_level": tastes.price_level,
        }
    ).with_columns(
        intent=pl.when(shown).then(pl.lit(pl.Series(words.leaf_names).gather(leaf))),
        intent_since=pl.when(shown).then(pl.lit(since)),
    )


def _pair(names: str, weights: str, labels: list[str], weight_UN: np.ndarray) -> dict[str, pl.Series]:
    """The non-zero weights of each user as two list columns, strongest first."""
    user, label = np.nonzero(weight_UN)
    long = (
        pl.DataFrame({"user": user, "name": pl.Series(labels).gather(label), "weight": weight_UN[user, label]})
        .sort("user", -pl.col("weight"), maintain_order=True)
        .group_by("user", maintain_order=True)
        .agg("name", "weight")
    )
    every = pl.DataFrame({"user": np.arange(len(weight_UN))}).join(long, on="user", how="left", maintain_order="left")
    return {names: every["name"].fill_null([]), weights: every["weight"].fill_null([])}
