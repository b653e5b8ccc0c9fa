"""From the sums of all items to `names.ENGAGEMENT_FEATURES`, in one vectorised step.

Popularity, trend and rates are measured against the whole shop, so they are read out of all items together.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import names
from services.core import columns
from services.profiles.engagement_sums import COUNTS, MICROSECONDS_A_DAY, EngagementConfig
from services.profiles.reference import ReferenceStatistics

FloatArray = NDArray[np.float64]

ROUNDING = {"popularity": 4, "trend": 3, "click_rate": 5, "purchase_rate": 5, "rating_mean": 3, "sentiment_mean": 3}
"""Decimals kept: what changes less is not worth a new feature row."""


def read_out(
    value: Mapping[str, FloatArray],
    newest: NDArray[np.int64],
    measured_at: int,
    served: FloatArray | None,
    config: EngagementConfig,
) -> NDArray[np.float32]:
    """(features, items) in the order of `names.ENGAGEMENT_FEATURES`, rounded; NaN where nothing is known.

    Args:
        value: `STATE_COLUMNS`, one number an item.
        newest: time of each item's newest event, microseconds since 1970.
        measured_at: when popularity is measured, microseconds since 1970: the newest event of all, so that a shop
            whose data is old has the same order of popularity as it had then.
        served: examined places in lists that Portrait served, one number an item; it stands in for impression events
            where the shop sends none.
    """
    exposure = value["exposure"]
    if not exposure.any() and served is not None:
        exposure = served
    visits = np.maximum(value["views_30d"], value["clicks_30d"])
    bounds = config.rate_strength_bounds
    age = np.maximum(measured_at - newest, 0) / (MICROSECONDS_A_DAY * config.half_life_days)
    features = {name: value[name] for name in (*COUNTS, "users_total", "rating_count")}
    features |= {
        "popularity": popularity(value["decayed"] * np.exp2(-age)),
        "trend": trend(value["recent"], value["month"], config.trend_strength),
        "click_rate": smoothed_rate(value["clicks_30d"], exposure, bounds),
        "purchase_rate": smoothed_rate(value["purchases_30d"], visits, bounds),
        "rating_mean": shrunk_mean(value["rating_sum"], value["rating_count"], config.rating_strength),
        "sentiment_mean": shrunk_mean(value["sentiment_sum"], value["sentiment_count"], config.rating_strength),
    }
    read = np.empty((len(names.ENGAGEMENT_FEATURES), len(newest)), np.float32)
    for row, name in zip(read, names.ENGAGEMENT_FEATURES, strict=True):
        row[:] = np.round(features[name], ROUNDING[name]) if name in ROUNDING else features[name]
    return read


def popularity(decayed: FloatArray) -> FloatArray:
    """log(1 + decayed engagement) over the largest such value: 0–1; hides can cancel engagement, but not below 0."""
    damped = np.log1p(np.maximum(decayed, 0.0))
    return damped / damped.max() if damped.size and damped.max() > 0 else np.zeros_like(damped)


def trend(recent: FloatArray, month: FloatArray, strength: float) -> FloatArray:
    """(recent + s) / (expected + s): engagement of the last 7 days over the item's share of the shop's last 7 days.

    The expectation is the item's last 30 days times the shop's ratio of 7 to 30 days, so that a good week of the whole
    shop is no trend. 1 means as expected.
    """
    whole = month.sum()
    expected = month * (recent.sum() / whole) if whole > 0 else np.zeros_like(month)
    return (recent + strength) / (expected + strength)


def smoothed_rate(successes: FloatArray, trials: FloatArray, bounds: tuple[float, float]) -> FloatArray:
    """(successes + m·s) / (trials + s): a Beta prior with the shop's mean m and a strength s from its spread.

    s by the method of moments, within `bounds`. NaN for all when the shop has no trials.
    """
    trials = np.maximum(trials, successes) if trials.any() else trials
    if not trials.any():
        return np.full_like(trials, np.nan)
    mean = successes.sum() / trials.sum()
    strength = _beta_strength(successes, trials, mean, bounds)
    return (successes + mean * strength) / (trials + strength)


def _beta_strength(successes: FloatArray, trials: FloatArray, mean: float, bounds: tuple[float, float]) -> float:
    seen = trials >= 1
    if not seen.any():  # served lists, each examined less than once: nothing says how rates spread
        return bounds[1]
    rates, weights = successes[seen] / trials[seen], trials[seen]
    spread = np.average((rates - mean) ** 2, weights=weights)
    binomial = mean * (1 - mean) * seen.sum() / weights.sum()
    excess = spread - binomial
    strength = bounds[1] if excess <= 0 else mean * (1 - mean) / excess - 1
    return float(np.clip(strength, *bounds))


def shrunk_mean(total: FloatArray, count: FloatArray, strength: float) -> FloatArray:
    """(sum + s·shop mean) / (n + s); NaN for items without an observation."""
    if not count.any():
        return np.full_like(total, np.nan)
    mean = (total + strength * total.sum() / count.sum()) / (count + strength)
    return np.where(count > 0, mean, np.nan)


def served_exposure(served: pa.Table, reference: ReferenceStatistics) -> pl.DataFrame:
    """`item_id`, `exposure`: places examined in the lists of `served` (`item_id`, `position`, `shown`)."""
    examined = reference.examination_at(served["position"].to_numpy()) * served["shown"].to_numpy()
    places = pl.DataFrame({columns.ITEM_ID: pl.from_arrow(served[columns.ITEM_ID]), "exposure": examined})
    return places.group_by(columns.ITEM_ID).sum().sort(columns.ITEM_ID)


def aligned(item_ids: pl.Series, exposure: pl.DataFrame) -> FloatArray:
    """The `exposure` of each of `item_ids`; 0 for those that were not shown."""
    wanted = pl.DataFrame({columns.ITEM_ID: item_ids})
    joined = wanted.join(exposure, columns.ITEM_ID, how="left", maintain_order="left")
    return joined["exposure"].cast(pl.Float64).fill_null(0.0).to_numpy()


def feature_table(item_ids: pl.Series, features: NDArray[np.float32], times: pa.Array) -> pa.Table:
    """Feature rows: `item_id`, `event_timestamp`, `names.ENGAGEMENT_FEATURES` (float32, NaN as null)."""
    table = {columns.ITEM_ID: item_ids.to_arrow().cast(pa.string()), names.EVENT_TIMESTAMP: times}
    for name, row in zip(names.ENGAGEMENT_FEATURES, features, strict=True):
        table[name] = pa.array(row, pa.float32(), from_pandas=True)
    return pa.table(table)
