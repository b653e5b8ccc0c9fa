"""Fits the reference statistics to a shop's own events, each shrunk to its prior while there are few data."""

from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from services.core import columns
from services.core.types import EventType
from services.profiles.importance_fit import fit_importance
from services.profiles.reference import ReferenceStatistics

DWELL_STRENGTH = 20.0
DWELL_LONGEST_MS = 30 * 60_000
EXAMINATION_STRENGTH = 100.0
EXAMINATION_ROUNDS = 50
ITEM_STRENGTH = 5.0
LARGEST_PRIORS = 5_000


class DwellFit(NamedTuple):
    """The median dwell in milliseconds and the number of views by category, and the shop's median."""

    medians: dict[str, float]
    views: dict[str, int]
    default: float


def fit_reference(
    events: pa.Table, items: pa.Table, *, as_of: datetime, prior: ReferenceStatistics | None = None
) -> ReferenceStatistics:
    """Statistics of `events` (`user_id`, `item_id`, `type`, `timestamp`, `position`, `dwell_ms`; whole users) up to
    `as_of`, given `items` (`item_id`, `brand`, `categories`). The version is the prior's: storing gives a new one.
    """
    prior = prior or ReferenceStatistics.defaults()
    catalogue = pl.from_arrow(items.select([columns.ITEM_ID, "brand", "categories"]))
    log = pl.from_arrow(events).filter(pl.col(columns.ITEM_ID).is_not_null(), pl.col(columns.TIMESTAMP) <= as_of)
    importance = fit_importance(log, catalogue, prior.importance)
    dwell = fit_dwell(log, catalogue, prior.dwell_median_default)
    return ReferenceStatistics(
        version=prior.version,
        importance=importance,
        dwell_median_ms=dwell.medians,
        dwell_views=dwell.views,
        dwell_median_default=dwell.default,
        examination=fit_examination(log, prior.examination),
        category_prior=_shares(log, catalogue.explode("categories").rename({"categories": "name"}), importance),
        brand_prior=_shares(log, catalogue.rename({"brand": "name"}), importance),
        category_coverage=_coverage(catalogue),
    )


def _coverage(catalogue: pl.DataFrame) -> dict[str, float]:
    carried = catalogue.explode("categories").drop_nulls("categories").group_by("categories")
    counts = carried.agg(pl.col(columns.ITEM_ID).n_unique().alias("n")).sort("categories")
    return dict(zip(counts["categories"], (counts["n"] / max(len(catalogue), 1)).round(4), strict=True))


def fit_dwell(log: pl.DataFrame, catalogue: pl.DataFrame, prior_ms: float) -> DwellFit:
    """The medians of dwell.

    They are shrunk on the logarithmic scale: exp((n·ln median + s·ln prior) / (n + s)), a category's prior being the
    shop's median. Dwell of 0 and of more than half an hour (a forgotten tab) is left out.
    """
    views = log.filter(pl.col("dwell_ms") > 0, pl.col("dwell_ms") <= DWELL_LONGEST_MS).select(
        columns.ITEM_ID, pl.col("dwell_ms").cast(pl.Float64)
    )
    if views.is_empty():
        return DwellFit({}, {}, prior_ms)
    default = _shrunk_median(views["dwell_ms"].median(), len(views), prior_ms)
    by_category = (
        views.join(catalogue.select(columns.ITEM_ID, "categories"), columns.ITEM_ID)
        .explode("categories")
        .drop_nulls("categories")
        .group_by("categories")
        .agg(pl.col("dwell_ms").median().alias("median"), pl.len().alias("n"))
        .sort("categories")
    )
    shrunk = _shrunk_median(by_category["median"].to_numpy(), by_category["n"].to_numpy(), default)
    names = by_category["categories"].to_list()
    medians = dict(zip(names, np.atleast_1d(shrunk).tolist(), strict=True))
    return DwellFit(medians, dict(zip(names, by_category["n"].to_list(), strict=True)), float(default))


def _shrunk_median(median: NDArray | float, count: NDArray | int, prior: float) -> NDArray[np.float64]:
    return np.exp((count * np.log(median) + DWELL_STRENGTH * np.log(prior)) / (count + DWELL_STRENGTH))


def fit_examination(log: pl.DataFrame, prior: tuple[float, ...]) -> tuple[float, ...]:
    """P(examined | position) of the position-based click model: P(click) = P(examined) · P(item attractive).

    The factors are fitted in turns to the clicks and impressions by item and position, starting from the prior, so that
    good items at the top are not taken for a good position (Chuklin et al. 2015, chapter 3). Positions with few clicks
    stay near the prior; isotonic regression makes the curve fall.
    """
    shown, clicks, item = _clicks_by_position(log, len(prior))
    if not clicks.any():
        return prior
    position, impressions = shown["position"].to_numpy(), shown["shown"].to_numpy()
    start = curve = np.array(prior)
    observed = np.bincount(position, clicks, minlength=len(prior))
    shop_rate = clicks.sum() / (impressions * curve[position]).sum()
    for _ in range(EXAMINATION_ROUNDS):
        examined = np.bincount(item, impressions * curve[position])
        attraction = (np.bincount(item, clicks) + ITEM_STRENGTH * shop_rate) / (examined + ITEM_STRENGTH)
        expected = np.bincount(position, impressions * attraction[item], minlength=len(prior))
        curve = (observed + EXAMINATION_STRENGTH * start) / (expected + EXAMINATION_STRENGTH)
        curve = curve / curve[0]
    falling = isotonic_regression(curve, weights=expected + 1.0, increasing=False).x
    return tuple((falling / falling[0]).tolist())


def _clicks_by_position(log: pl.DataFrame, count: int) -> tuple[pl.DataFrame, NDArray[np.float64], NDArray[np.int64]]:
    """Impressions per (item, position), the clicks at the same places, and item codes."""
    kinds = (EventType.IMPRESSION.value, EventType.CLICK.value)
    placed = log.filter(pl.col("type").cast(pl.String).is_in(kinds), pl.col("position") >= 0).with_columns(
        pl.col("position").clip(upper_bound=count - 1)
    )
    table = (
        placed.group_by(columns.ITEM_ID, "position")
        .agg(
            (pl.col("type") == kinds[0]).sum().cast(pl.Float64).alias("shown"),
            (pl.col("type") == kinds[1]).sum().cast(pl.Float64).alias("clicked"),
        )
        .filter(pl.col("shown") > 0)
        .with_columns(pl.min_horizontal("clicked", "shown"))
        .sort(columns.ITEM_ID, "position")
    )
    item = table[columns.ITEM_ID].rle_id().to_numpy().astype(np.int64)
    return table, table["clicked"].to_numpy(), item


def _shares(log: pl.DataFrame, groups: pl.DataFrame, importance: dict[str, float]) -> dict[str, float]:
    """The share of positive engagement of each name (an item's is split among its names), the largest first."""
    weight = pl.col("type").cast(pl.String).replace_strict(importance, default=0.0, return_dtype=pl.Float64)
    by_item = log.group_by(columns.ITEM_ID).agg(weight.clip(lower_bound=0).sum().alias("weight"))
    named = groups.drop_nulls("name").with_columns(names=pl.len().over(columns.ITEM_ID))
    totals = (
        by_item.join(named, columns.ITEM_ID)
        .group_by("name")
        .agg((pl.col("weight") / pl.col("names")).sum().alias("weight"))
        .filter(pl.col("weight") > 0)
        .sort("weight", "name", descending=[True, False])
    )
    whole = totals["weight"].sum()
    largest = totals.head(LARGEST_PRIORS)
    return dict(zip(largest["name"].to_list(), (largest["weight"] / max(whole, 1e-12)).to_list(), strict=True))
