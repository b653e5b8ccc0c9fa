"""How users engage with each item, as of a time: counts by window, popularity, trend, smoothed rates, mean rating.

Everything is first summed per item (`EngagementSums`, mergeable over chunks of users, so memory follows the items and
one chunk) and then turned into `names.ENGAGEMENT_FEATURES` in one vectorised step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import names
from services.core import columns
from services.core.types import WINDOWS, EventType
from services.profiles.reference import ReferenceStatistics

FloatArray = NDArray[np.float64]

EVENT_INPUT = (columns.USER_ID, columns.ITEM_ID, columns.TYPE, columns.TIMESTAMP, "position", "rating", "sentiment")
"""The event columns that engagement reads; the last three may be absent."""

COUNTS: dict[str, tuple[EventType, str | None]] = {
    "views_1d": (EventType.VIEW, "1d"),
    "views_7d": (EventType.VIEW, "7d"),
    "views_30d": (EventType.VIEW, "30d"),
    "clicks_1d": (EventType.CLICK, "1d"),
    "clicks_7d": (EventType.CLICK, "7d"),
    "clicks_30d": (EventType.CLICK, "30d"),
    "carts_30d": (EventType.CART, "30d"),
    "purchases_7d": (EventType.PURCHASE, "7d"),
    "purchases_30d": (EventType.PURCHASE, "30d"),
    "purchases_total": (EventType.PURCHASE, None),
}
"""Counted events of a type within a window; None: ever."""

ROUNDING = {"popularity": 4, "trend": 3, "click_rate": 5, "purchase_rate": 5, "rating_mean": 3, "sentiment_mean": 3}
"""Decimals kept: what changes less is not worth a new feature row."""


@dataclass(frozen=True)
class EngagementConfig:
    """`half_life_days`: of popularity. The `*_strength` are pseudo-observations at the shop's mean."""

    half_life_days: float = 30.0
    trend_strength: float = 3.0
    rating_strength: float = 5.0
    rate_strength_bounds: tuple[float, float] = (5.0, 1_000.0)


class EngagementSums:
    """Sums per item over chunks of events; every user's events must be in one chunk (`users_total` counts users).

    Ages are measured from `as_of`, popularity's decay from the newest event (`newest`), so that a shop whose data is
    old has the same order of popularity as it had then.
    """

    def __init__(
        self,
        as_of: datetime,
        reference: ReferenceStatistics,
        config: EngagementConfig | None = None,
        newest: datetime | None = None,
    ) -> None:
        self.as_of, self.reference, self.config = as_of, reference, config or EngagementConfig()
        self.newest = min(newest, as_of) if newest else as_of
        self._parts: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, events: pa.Table) -> None:
        """Count the events of one chunk of users; those after `as_of` and those without an item are left out."""
        part = self._sum_events(pl.from_arrow(_with_optional_columns(events)))
        self._parts.append(part)
        self._rows += len(part)
        if len(self._parts) > 1 and self._rows > 4 * max(len(self._parts[0]), 50_000):
            self.merge()

    def merge(self) -> pl.DataFrame:
        """The sums so far: one row an item, sorted by item id."""
        if not self._parts:
            self.add(pa.table({name: pa.array([], _INPUT_TYPES[name]) for name in EVENT_INPUT}))
        merged = pl.concat(self._parts).group_by(columns.ITEM_ID).sum().sort(columns.ITEM_ID)
        self._parts, self._rows = [merged], len(merged)
        return merged

    def _sum_events(self, events: pl.DataFrame) -> pl.DataFrame:
        age = (pl.lit(self.as_of) - pl.col(columns.TIMESTAMP)).dt.total_microseconds() / 1e6
        freshness = (pl.lit(self.newest) - pl.col(columns.TIMESTAMP)).dt.total_microseconds() / 86_400e6
        kept = (
            events.lazy()
            .filter(pl.col(columns.ITEM_ID).is_not_null(), pl.col(columns.TIMESTAMP) <= self.as_of)
            .with_columns(
                age=age,
                weight=pl.col(columns.TYPE)
                .cast(pl.String)
                .replace_strict(dict(self.reference.importance), default=0.0, return_dtype=pl.Float64),
                decay=pl.lit(2.0).pow(-freshness.clip(lower_bound=0) / self.config.half_life_days),
                examined=self._examined(),
            )
        )
        return kept.group_by(columns.ITEM_ID).agg(*_sum_expressions()).collect()

    def _examined(self) -> pl.Expr:
        curve = dict(enumerate(self.reference.examination))
        position = pl.col("position").cast(pl.Int64).fill_null(0).clip(0, len(curve) - 1)
        return position.replace_strict(curve, return_dtype=pl.Float64)


def _sum_expressions() -> list[pl.Expr]:
    kind, weight, positive = (
        pl.col(columns.TYPE).cast(pl.String),
        pl.col("weight"),
        pl.col("weight").clip(lower_bound=0),
    )

    def within(window: str | None) -> pl.Expr:
        return pl.lit(True) if window is None else pl.col("age") < WINDOWS[window]

    counts = [
        ((kind == event_type.value) & within(window)).sum().cast(pl.Float64).alias(name)
        for name, (event_type, window) in COUNTS.items()
    ]
    return [
        *counts,
        pl.col(columns.USER_ID).filter(weight > 0).n_unique().cast(pl.Float64).alias("users_total"),
        pl.col("examined").filter((kind == EventType.IMPRESSION.value) & within("30d")).sum().alias("exposure"),
        (weight * pl.col("decay")).sum().alias("decayed"),
        positive.filter(within("7d")).sum().alias("recent"),
        positive.filter(within("30d")).sum().alias("month"),
        pl.col("rating").cast(pl.Float64).sum().alias("rating_sum"),
        pl.col("rating").count().cast(pl.Float64).alias("rating_count"),
        pl.col("sentiment").cast(pl.Float64).sum().alias("sentiment_sum"),
        pl.col("sentiment").count().cast(pl.Float64).alias("sentiment_count"),
    ]


_INPUT_TYPES = {
    columns.USER_ID: pa.string(),
    columns.ITEM_ID: pa.string(),
    columns.TYPE: pa.string(),
    columns.TIMESTAMP: pa.timestamp("us", "UTC"),
    "position": pa.int32(),
    "rating": pa.float32(),
    "sentiment": pa.float32(),
}


def _with_optional_columns(events: pa.Table) -> pa.Table:
    for name in ("position", "rating", "sentiment"):
        if name not in events.column_names:
            events = events.append_column(name, pa.nulls(len(events), _INPUT_TYPES[name]))
    return events.select(EVENT_INPUT)


def engagement_features(sums: EngagementSums, served: pa.Table | None = None) -> pa.Table:
    """One row an item: `item_id`, `event_timestamp` = as of, and `names.ENGAGEMENT_FEATURES` as float32.

    Null where nothing is known: rates of a shop that records no impressions or visits, ratings, sentiments.
    `served` (`item_id`, `position`, `shown`) counts the lists that Portrait itself served; it stands in for impression
    events where the shop sends none.
    """
    totals, config = sums.merge(), sums.config
    value = {name: totals[name].to_numpy() for name in totals.columns if name != columns.ITEM_ID}
    exposure = value["exposure"]
    if not exposure.any() and served is not None and len(served):
        exposure = _served_exposure(totals[columns.ITEM_ID], served, sums.reference)
    visits = np.maximum(value["views_30d"], value["clicks_30d"])
    bounds = config.rate_strength_bounds
    features = {name: value[name] for name in (*COUNTS, "users_total", "rating_count")}
    features |= {
        "popularity": popularity(value["decayed"]),
        "trend": trend(value["recent"], value["month"], config.trend_strength),
        "click_rate": smoothed_rate(value["clicks_30d"], exposure, bounds),
        "purchase_rate": smoothed_rate(value["purchases_30d"], visits, bounds),
        "rating_mean": shrunk_mean(value["rating_sum"], value["rating_count"], config.rating_strength),
        "sentiment_mean": shrunk_mean(value["sentiment_sum"], value["sentiment_count"], config.rating_strength),
    }
    rounded = {
        name: np.round(column, ROUNDING[name]) if name in ROUNDING else column for name, column in features.items()
    }
    moment = pa.array([sums.as_of] * len(totals), pa.timestamp("us", "UTC"))
    columns_ = {columns.ITEM_ID: totals[columns.ITEM_ID].to_arrow().cast(pa.string()), names.EVENT_TIMESTAMP: moment}
    for name in names.ENGAGEMENT_FEATURES:
        columns_[name] = pa.array(rounded[name].astype(np.float32), from_pandas=True)
    return pa.table(columns_)


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


def _served_exposure(item_ids: pl.Series, served: pa.Table, reference: ReferenceStatistics) -> FloatArray:
    examined = reference.examination_at(served["position"].to_numpy()) * served["shown"].to_numpy()
    by_item = pl.DataFrame({columns.ITEM_ID: pl.from_arrow(served[columns.ITEM_ID]), "exposure": examined})
    summed = by_item.group_by(columns.ITEM_ID).sum()
    joined = pl.DataFrame({columns.ITEM_ID: item_ids}).join(summed, columns.ITEM_ID, how="left", maintain_order="left")
    return joined["exposure"].fill_null(0.0).to_numpy()


def compute_engagement(
    chunks: Iterable[pa.Table],
    as_of: datetime,
    reference: ReferenceStatistics,
    *,
    newest: datetime | None = None,
    served: pa.Table | None = None,
    config: EngagementConfig | None = None,
) -> pa.Table:
    """The engagement rows of all items in `chunks` (event tables that each hold whole users)."""
    sums = EngagementSums(as_of, reference, config, newest)
    for chunk in chunks:
        sums.add(chunk)
    return engagement_features(sums, served)
