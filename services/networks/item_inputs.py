"""Items as the tower reads them: content vector, codes of categories and brand, price bucket, and how often seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.networks.user_config import PRICE_BUCKETS

CATEGORIES_AN_ITEM = 8

IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class ItemInputs:
    """n items. `content` float32 (n, D), unit rows or zero; `categories` int32 (n, 8), `brand`, `price`, `id` int32
    (n,): rows of embedding tables, 0 for none. `count` float32 (n,): training examples of the item; 0 where its id has
    not been trained."""

    content: NDArray[np.float32]
    categories: IntArray
    brand: IntArray
    price: IntArray
    id: IntArray
    count: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.content)


@dataclass(frozen=True)
class Vocabulary:
    """What the rows of the embedding tables mean: row 0 is "none", row 1 + i the i-th name.

    `price_edges` float64: inner bounds of the price buckets, ascending. `counts`: training examples by item.
    """

    items: tuple[str, ...]
    categories: tuple[str, ...]
    brands: tuple[str, ...]
    price_edges: tuple[float, ...]
    counts: NDArray[np.float32]

    def encode(
        self,
        content: NDArray[np.float32],
        item_ids: Sequence[str],
        categories: Sequence[Sequence[str]],
        brands: Sequence[str | None],
        prices: NDArray[np.float64],
    ) -> ItemInputs:
        """Items in these numbers; names that were not there at training are as if absent."""
        item_row = {name: row for row, name in enumerate(self.items, 1)}
        category_row = {name: row for row, name in enumerate(self.categories, 1)}
        brand_row = {name: row for row, name in enumerate(self.brands, 1)}
        ids = np.array([item_row.get(name, 0) for name in item_ids], np.int32)
        counts = np.concatenate([np.zeros(1, np.float32), self.counts])
        return ItemInputs(
            content=np.ascontiguousarray(content, np.float32),
            categories=_padded([[category_row.get(name, 0) for name in names] for names in categories]),
            brand=np.array([0 if name is None else brand_row.get(name, 0) for name in brands], np.int32),
            price=price_buckets(prices, self.price_edges),
            id=np.where(counts[ids] > 0, ids, 0).astype(np.int32),
            count=counts[ids],
        )


def price_edges(prices: NDArray[np.float64]) -> tuple[float, ...]:
    """Bounds that put about as many of the known prices into each bucket."""
    known = prices[np.isfinite(prices) & (prices > 0)]
    if not known.size:
        return ()
    return tuple(np.unique(np.quantile(known, np.arange(1, PRICE_BUCKETS) / PRICE_BUCKETS)).tolist())


def price_buckets(prices: NDArray[np.float64], edges: Sequence[float]) -> IntArray:
    """0 for an unknown price, else 1 + its bucket."""
    known = np.isfinite(prices) & (prices > 0)
    return np.where(known, 1 + np.searchsorted(np.asarray(edges, float), np.where(known, prices, 0)), 0).astype(
        np.int32
    )


def _padded(rows: Sequence[Sequence[int]]) -> IntArray:
    """(n, 8): the last eight known codes of each row (the most specific), 0 behind them."""
    out = np.zeros((len(rows), CATEGORIES_AN_ITEM), np.int32)
    for place, codes in enumerate(rows):
        last = [code for code in codes if code][-CATEGORIES_AN_ITEM:]
        out[place, : len(last)] = last
    return out
