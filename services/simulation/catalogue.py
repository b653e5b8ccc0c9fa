"""The products as arrays: everything that titles, pictures, prices and tastes are derived from."""

from dataclasses import dataclass

import numpy as np

from services.simulation.chance import Stream, draw_cdf, draw_columns, generator, row_cdf
from services.simulation.config import DAY, ShopConfig
from services.simulation.vocabulary import Vocabulary, vocabulary

TIER_PRICE = np.array([0.6, 1.0, 1.6, 2.8])
PRICE_SPREAD = 0.6  # one unit of price level, in log price
NEW_SHARE = 0.15  # of the products appear within the shop's window
UNAVAILABLE_SHARE = 0.03
TITLE_PATTERNS = 4


@dataclass(frozen=True)
class Catalogue:
    """Item arrays [items]; word columns hold positions in the vocabulary's flat lists."""

    leaf: np.ndarray
    brand: np.ndarray
    colour: np.ndarray
    style: np.ndarray
    material: np.ndarray
    noun: np.ndarray
    size: np.ndarray
    line: np.ndarray
    detail_first: np.ndarray
    detail_second: np.ndarray
    use: np.ndarray
    style_sentence: np.ndarray
    title_pattern: np.ndarray
    price: np.ndarray
    price_level: np.ndarray  # log price against the category's typical price, in units of PRICE_SPREAD
    quality: np.ndarray
    published_us: np.ndarray
    available: np.ndarray
    popularity: np.ndarray
    on_shelf: np.ndarray  # item numbers, grouped by leaf
    leaf_start: np.ndarray  # [leaves + 1] into on_shelf
    cumulative: np.ndarray  # popularity summed along on_shelf, starting with 0: [items + 1]

    def draw_from_leaf(self, leaf: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Items of the leaves, by popularity; leaf -1 stands for the whole shop."""
        whole = leaf < 0
        low = np.where(whole, 0.0, self.cumulative[self.leaf_start[leaf]])
        high = np.where(whole, self.cumulative[-1], self.cumulative[self.leaf_start[leaf + 1]])
        place = np.searchsorted(self.cumulative, low + uniform * (high - low), side="right") - 1
        first = np.where(whole, 0, self.leaf_start[leaf])
        last = np.where(whole, len(self.on_shelf), self.leaf_start[leaf + 1]) - 1
        return self.on_shelf[np.clip(place, first, last)]

    @property
    def leaf_stocked(self) -> np.ndarray:
        """Whether each leaf has a product (a shop smaller than its list of categories leaves some empty)."""
        return np.diff(self.leaf_start) > 0


def build_catalogue(config: ShopConfig) -> Catalogue:
    words = vocabulary()
    rng = generator(config.seed, Stream.CATALOGUE)
    n = config.items
    leaf = _leaves(words, rng, n)
    brand = _brands(words, rng, leaf)
    style = np.where(rng.random(n) < 0.75, words.brand_style[brand], rng.integers(len(words.style_names), size=n))
    size = words.sizes.draw(leaf, rng.random(n))
    detail_first, detail_second = _two_details(words, rng, leaf)
    price = _prices(words, rng, leaf, brand, size)
    quality = rng.normal(0.0, 1.0, n)
    popularity = np.exp(0.9 * rng.normal(size=n) + 0.3 * quality)
    on_shelf = np.argsort(leaf, kind="stable")
    return Catalogue(
        leaf=leaf.astype(np.int16),
        brand=brand.astype(np.int16),
        colour=words.palettes.flat.to_numpy()[words.palettes.draw(leaf, rng.random(n))].astype(np.int16),
        style=style.astype(np.int16),
        material=words.materials.draw(leaf, rng.random(n)).astype(np.int32),
        noun=words.nouns.draw(leaf, rng.random(n)).astype(np.int32),
        size=size.astype(np.int32),
        line=rng.integers(len(words.lines), size=n, dtype=np.int32),
        detail_first=detail_first.astype(np.int32),
        detail_second=detail_second.astype(np.int32),
        use=words.uses.draw(leaf, rng.random(n)).astype(np.int32),
        style_sentence=words.style_sentences.draw(style, rng.random(n)).astype(np.int32),
        title_pattern=rng.integers(TITLE_PATTERNS, size=n, dtype=np.int8),
        price=price,
        price_level=(np.log(price / words.leaf_price[leaf]) / PRICE_SPREAD).astype(np.float32),
        quality=quality.astype(np.float32),
        published_us=_published(config, rng),
        available=rng.random(n) >= UNAVAILABLE_SHARE,
        popularity=popularity.astype(np.float32),
        on_shelf=on_shelf.astype(np.int32),
        leaf_start=np.searchsorted(leaf[on_shelf], np.arange(len(words.leaves) + 1)),
        cumulative=np.r_[0.0, np.cumsum(popularity[on_shelf])],
    )


def _leaves(words: Vocabulary, rng: np.random.Generator, n: int) -> np.ndarray:
    """A leaf for each item; each leaf gets one first, where there are enough items."""
    drawn = draw_cdf(row_cdf(words.leaf_weight[None, :])[0], rng.random(n))
    drawn[: len(words.leaves)] = rng.permutation(len(words.leaves))[:n]
    return rng.permutation(drawn)


def _brands(words: Vocabulary, rng: np.random.Generator, leaf: np.ndarray) -> np.ndarray:
    size_of_brand = 1.0 / np.sqrt(1.0 + rng.permutation(len(words.brand_names)))
    cdf = row_cdf(words.brand_in_department * size_of_brand)
    return draw_columns(cdf, words.leaf_department[leaf], rng.random(len(leaf)))


def _two_details(words: Vocabulary, rng: np.random.Generator, leaf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = words.details.draw(leaf, rng.random(len(leaf)))
    count, start = words.details.count[leaf], words.details.start[leaf]
    step = 1 + (rng.random(len(leaf)) * (count - 1)).astype(np.int64)
    return first, start + (first - start + step) % count


def _prices(
    words: Vocabulary, rng: np.random.Generator, leaf: np.ndarray, brand: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Category price × brand tier × size × noise, rounded the way shops do (…9.99, …4.95, …49)."""
    place = (size - words.sizes.start[leaf]) / np.maximum(words.sizes.count[leaf] - 1, 1)
    graded = np.where(words.leaf_graded[leaf], 0.75 + 0.65 * place, 1.0)
    noise = np.exp(rng.normal(0.0, 0.2, len(leaf)))
    raw = words.leaf_price[leaf] * TIER_PRICE[words.brand_tier[brand] - 1] * graded * noise
    small = np.maximum(np.round(raw), 1.0) - 0.01
    middle = np.round(raw) - 0.05
    large = np.round(raw / 5.0) * 5.0 - 1.0
    return np.round(np.where(raw < 20, small, np.where(raw < 100, middle, large)), 2)


def _published(config: ShopConfig, rng: np.random.Generator) -> np.ndarray:
    """Most products are older than the window (up to two years), some appear within it."""
    n = config.items
    new = rng.random(n) < NEW_SHARE
    age_days = np.where(new, rng.random(n) * config.days, config.days + rng.random(n) * 730)
    minute = 60_000_000
    return (config.end_us - (age_days * DAY).astype(np.int64)) // minute * minute
