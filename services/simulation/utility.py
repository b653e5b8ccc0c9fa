"""The hidden utility of an item for a user: what clicks, dwell, purchases and ratings all follow."""

import numpy as np

from services.simulation.catalogue import Catalogue
from services.simulation.parameters import behaviour
from services.simulation.tastes import Tastes

FARTHEST_PRICE = 4.0  # the squared distance beyond which a price can get no worse


def appeal(tastes: Tastes, catalogue: Catalogue, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The part of utility that does not come from the category: brand, style, colour, price and quality.

    `user` (rows of the block) and `item` broadcast against each other.
    """
    weights = behaviour().utility
    gap = np.minimum((catalogue.price_level[item] - tastes.price_level[user]) ** 2, FARTHEST_PRICE)
    return (
        weights.brand * tastes.brand[user, catalogue.brand[item]]
        + weights.style * tastes.style[user, catalogue.style[item]]
        + weights.colour * tastes.colour[user, catalogue.colour[item]]
        - weights.price * gap
        + weights.quality * catalogue.quality[item]
    )


def category_utility(tastes: Tastes, catalogue: Catalogue, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The part of utility that comes from liking the item's category, or its neighbours on the shelf."""
    weights = behaviour().utility
    leaf = catalogue.leaf[item]
    return weights.category * tastes.category_value[user, leaf] + weights.sibling * tastes.shelf[user, leaf]


def utility(
    tastes: Tastes, catalogue: Catalogue, user: np.ndarray, item: np.ndarray, intent_leaf: np.ndarray | None = None
) -> np.ndarray:
    """The whole hidden utility; `intent_leaf` (broadcast like `user`, -1 for none) adds the short-term intent."""
    total = category_utility(tastes, catalogue, user, item) + appeal(tastes, catalogue, user, item)
    if intent_leaf is not None:
        total = total + behaviour().utility.intent * (catalogue.leaf[item] == intent_leaf)
    return total
