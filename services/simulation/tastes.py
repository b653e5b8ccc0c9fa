"""Hidden long-term tastes: what each simulated user likes, sparse, and constant over the window."""

from dataclasses import dataclass

import numpy as np

from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, generator, top_k_mask
from services.simulation.config import ShopConfig
from services.simulation.parameters import UserHabits, behaviour
from services.simulation.vocabulary import Vocabulary, vocabulary

BLOCK_USERS = 512
"""Users are always made in these blocks, each with its own generator: batch sizes change nothing."""


@dataclass(frozen=True)
class Tastes:
    """Tastes of the users `first_user …` of one block."""

    first_user: int
    category: np.ndarray  # [users, leaves], sums to 1, mostly 0
    shelf: np.ndarray  # [users, leaves], how much the leaf's neighbours on the shelf are liked, 0–1
    brand: np.ndarray  # [users, brands], -1 (disliked) … 1
    style: np.ndarray  # [users, styles], -1 … 1
    colour: np.ndarray  # [users, colours], 0 or 0.5–1
    price_level: np.ndarray  # [users], in the units of Catalogue.price_level
    leniency: np.ndarray  # [users], stars added to every rating

    def __len__(self) -> int:
        return len(self.price_level)

    @property
    def category_value(self) -> np.ndarray:
        """[users, leaves]: liking relative to the user's favourite category, 0–1."""
        return self.category / self.category.max(axis=1, keepdims=True)


def block_count(config: ShopConfig) -> int:
    return -(-config.users // BLOCK_USERS)


def draw_tastes(config: ShopConfig, catalogue: Catalogue, block: int) -> Tastes:
    """The tastes of one block of users."""
    words, habits = vocabulary(), behaviour().users
    rng = generator(config.seed, Stream.TASTE, block)
    first = block * BLOCK_USERS
    n = min(BLOCK_USERS, config.users - first)
    departments, category = _categories(words, habits, rng, n, catalogue.leaf_stocked)
    price_level = rng.normal(0.0, habits.price_spread, n)
    value = category / category.max(axis=1, keepdims=True)
    shelf = np.maximum.reduceat(value, words.shelf_starts, axis=1)[:, words.leaf_shelf]
    liked = rng.gumbel(size=(n, len(words.style_names)))
    return Tastes(
        first_user=first,
        category=category.astype(np.float32),
        shelf=shelf.astype(np.float32),
        brand=_brands(words, habits, rng, departments, price_level).astype(np.float32),
        style=np.tanh(liked - np.median(liked, axis=1, keepdims=True)).astype(np.float32),
        colour=_colours(words, habits, rng, n).astype(np.float32),
        price_level=price_level.astype(np.float32),
        leniency=(behaviour().rating.leniency * rng.normal(size=n)).astype(np.float32),
    )


def _categories(
    words: Vocabulary, habits: UserHabits, rng: np.random.Generator, n: int, stocked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A few leaves, mostly in two or three departments, with uneven weights that sum to 1."""
    n_departments = len(words.department_names)
    department_score = rng.gumbel(size=(n, n_departments))
    departments = top_k_mask(department_score, rng.integers(2, 4, size=n))
    score = rng.gumbel(size=(n, len(words.leaves))) + np.log(words.leaf_weight)
    score += np.where(departments[:, words.leaf_department], 3.0, 0.0)
    score[:, ~stocked] = -np.inf
    low, high = habits.liked_categories
    liked = top_k_mask(score, rng.integers(low, high + 1, size=n))
    weight = np.where(liked, rng.gamma(1.2, size=liked.shape) + 0.05, 0.0)
    return departments, weight / weight.sum(axis=1, keepdims=True)


def _brands(
    words: Vocabulary, habits: UserHabits, rng: np.random.Generator, departments: np.ndarray, price_level: np.ndarray
) -> np.ndarray:
    """A few liked brands of the user's departments and purse, and now and then one disliked."""
    n, n_brands = len(price_level), len(words.brand_names)
    sold = departments.astype(np.int64) @ words.brand_in_department.astype(np.int64) > 0
    tier_gap = (words.brand_tier - 2.0)[None, :] - price_level[:, None]
    score = rng.gumbel(size=(n, n_brands)) - 0.5 * tier_gap**2
    score[~sold] = -np.inf
    low, high = habits.liked_brands
    liked = top_k_mask(score, rng.integers(low, high + 1, size=n))
    dislike_score = np.where(sold & ~liked, rng.random((n, n_brands)), -np.inf)
    disliked = top_k_mask(dislike_score, (rng.random(n) < 0.4).astype(np.int64))
    return np.where(liked, rng.uniform(0.4, 1.0, (n, n_brands)), 0.0) - np.where(disliked, 0.9, 0.0)


def _colours(words: Vocabulary, habits: UserHabits, rng: np.random.Generator, n: int) -> np.ndarray:
    low, high = habits.liked_colours
    shape = (n, len(words.colour_names))
    liked = top_k_mask(rng.random(shape), rng.integers(low, high + 1, size=n))
    return np.where(liked, rng.uniform(0.5, 1.0, shape), 0.0)
