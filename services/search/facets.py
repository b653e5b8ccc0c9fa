"""Counts over everything that matches, by category, brand, price and availability."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from services.features.filters import ItemFilter, filter_mask
from services.features.snapshot import ItemSnapshot
from services.search.request import FacetName
from services.search.result import AvailabilityFacet, Facets, PriceBand, PriceFacet, TermCount

IndexArray = NDArray[np.int32]
BANDS = 6
"""About so many price bands."""


def count_facets(
    names: Sequence[FacetName], snapshot: ItemSnapshot, unfiltered: IndexArray, wanted: ItemFilter, terms: int
) -> Facets:
    """The facets of the items `unfiltered` int32 (n,), each under the filter without its own field."""
    categories: list[TermCount] | None = None
    brands: list[TermCount] | None = None
    price: PriceFacet | None = None
    available: AvailabilityFacet | None = None
    for name in dict.fromkeys(names):
        items = unfiltered[filter_mask(_without(wanted, name), snapshot, unfiltered)]
        if name is FacetName.CATEGORIES:
            categories = _categories(snapshot, items, terms)
        elif name is FacetName.BRANDS:
            codes = snapshot.brand[items]
            brands = _most(np.bincount(codes[codes >= 0]), snapshot.brand_names, terms)
        elif name is FacetName.PRICE:
            price = price_facet(snapshot.price[items])
        else:
            can = int(np.count_nonzero(snapshot.available[items]))
            available = AvailabilityFacet(can, items.size - can)
    return Facets(categories, brands, price, available)


def price_facet(prices: NDArray[np.float32]) -> PriceFacet:
    """The ends and about `BANDS` bands of round width that hold about equally many of the prices float32 (n,)."""
    known = prices[np.isfinite(prices)]
    if not known.size:
        return PriceFacet(None, None, [])
    cuts = np.quantile(known, np.linspace(0, 1, BANDS + 1)[1:-1])
    edges = sorted({edge for edge in map(_round_price, cuts.tolist()) if known.min() < edge <= known.max()})
    bounds: list[float | None] = [None, *edges, None]
    counts = np.histogram(known, [-np.inf, *edges, np.inf])[0].tolist()
    bands = [PriceBand(low, high, count) for low, high, count in zip(bounds[:-1], bounds[1:], counts, strict=True)]
    return PriceFacet(float(known.min()), float(known.max()), bands)


def _round_price(value: float) -> float:
    """The nearest of 1, 1.5, 2, 3, 4, 5, 7.5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return min((step * power for step in (1, 1.5, 2, 3, 4, 5, 7.5, 10)), key=lambda price: abs(price - value))


def _categories(snapshot: ItemSnapshot, items: IndexArray, terms: int) -> list[TermCount]:
    starts = snapshot.category_indptr[items]
    lengths = snapshot.category_indptr[items + 1] - starts
    ends = lengths.cumsum()
    if not items.size or not ends[-1]:
        return []
    at = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    return _most(np.bincount(snapshot.category_codes[at]), snapshot.category_names, terms)


def _most(counts: NDArray[np.integer], names: Sequence[str], terms: int) -> list[TermCount]:
    """The most frequent codes by name; equally frequent ones in the order of their codes, which is the names'."""
    order = np.argsort(-counts, kind="stable")[:terms]
    return [TermCount(names[code], int(counts[code])) for code in order.tolist() if counts[code]]


def _without(wanted: ItemFilter, name: FacetName) -> ItemFilter:
    """The filter without the field that a facet counts by."""
    if name is FacetName.CATEGORIES:
        return replace(wanted, categories=())
    if name is FacetName.BRANDS:
        return replace(wanted, brands=())
    if name is FacetName.PRICE:
        return replace(wanted, price=None)
    return replace(wanted, available=None)
