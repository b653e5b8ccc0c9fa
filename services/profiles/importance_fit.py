"""How much an event of each type says about taste, measured by how well it predicts the user's next purchase.

For an event on an item, success is a purchase of that item or of its most specific category by the same user within
the following week. The expectation is the user's chance to buy anything in that week times the category's share of
purchases: active users and popular categories are no evidence. The lift of a type is the difference of the two
log-odds, put on the prior's scale and mixed with it by the number of successes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from services.core import columns
from services.core.types import EventType

HORIZON = "7d"
STRENGTH = 200.0
"""Successes that weigh as much as the prior."""

CLEAR = 10.0
"""Mean squared lift in standard errors below which the lifts are taken for noise and the prior stays."""

ANCHOR = EventType.PURCHASE.value
GROUP = "group"


def fit_importance(log: pl.DataFrame, catalogue: pl.DataFrame, prior: Mapping[str, float]) -> dict[str, float]:
    """Importance by type, a purchase staying 1; types the prior gives 0 (impressions) and unseen types keep it.

    A positive type stays between 0 and 1, a negative one between −1.5 and 0. Where the lifts as a whole are no more
    than chance, the prior stays.
    """
    lifts = purchase_lifts(log, catalogue)
    fitted = {kind: value for kind, value in prior.items() if kind != ANCHOR and value and kind in lifts}
    if not fitted:
        return dict(prior)
    weight = np.array([lifts[kind][1] for kind in fitted])
    lift = np.array([lifts[kind][0] for kind in fitted])
    target = np.array(list(fitted.values()))
    standard_error = np.sqrt(2.0 / (weight + 0.5))
    scale = max((weight * lift * target).sum(), 0.0) / max((weight * lift**2).sum(), 1e-9)
    if scale == 0 or np.mean((lift / standard_error) ** 2) < CLEAR:
        return dict(prior)
    mixed = (weight * scale * lift + STRENGTH * target) / (weight + STRENGTH)
    bounded = np.where(target > 0, np.clip(mixed, 0.0, 1.0), np.clip(mixed, -1.5, 0.0))
    return {**prior, **dict(zip(fitted, np.round(bounded, 4).tolist(), strict=True))}


@dataclass(frozen=True)
class FittedImportance:
    """One event type's importance: before the data spoke, fitted, and the fit's 95% interval over resampled users."""

    prior: float
    value: float
    low: float
    high: float


def importance_intervals(
    log: pl.DataFrame, catalogue: pl.DataFrame, prior: Mapping[str, float], *, resamples: int = 100, seed: int = 0
) -> dict[str, FittedImportance]:
    """`fit_importance` with intervals (percentiles over users drawn with replacement; Efron 1979).

    Each draw is fitted as a whole, so that what a type's scale owes to the others is in its interval.
    """
    fitted = fit_importance(log, catalogue, prior)
    rng = np.random.default_rng(seed)
    users = log[columns.USER_ID].unique(maintain_order=True)
    drawn: dict[str, list[float]] = {kind: [] for kind in fitted}
    for _ in range(resamples if len(users) else 0):
        counts = np.bincount(rng.integers(0, len(users), len(users)), minlength=len(users))
        copies = pl.DataFrame({columns.USER_ID: users, "copy": [list(range(count)) for count in counts.tolist()]})
        again = log.join(copies.explode("copy").drop_nulls("copy"), columns.USER_ID)
        again = again.with_columns(pl.format("{}\0{}", columns.USER_ID, "copy").alias(columns.USER_ID))
        for kind, value in fit_importance(again, catalogue, prior).items():
            drawn[kind].append(value)
    return {
        kind: FittedImportance(prior[kind], value, *_percentiles(drawn[kind], value)) for kind, value in fitted.items()
    }


def _percentiles(values: list[float], otherwise: float) -> tuple[float, float]:
    if not values:
        return otherwise, otherwise
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def purchase_lifts(log: pl.DataFrame, catalogue: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """(log-odds lift, successes) by event type; empty where the shop has no purchases."""
    grouped = _with_group(log, catalogue).sort(columns.TIMESTAMP)
    purchases = grouped.filter(pl.col(columns.TYPE) == ANCHOR).select(columns.USER_ID, GROUP, columns.TIMESTAMP)
    if purchases.is_empty():
        return {}
    share = purchases.group_by(GROUP).agg((pl.len() / len(purchases)).alias("share"))
    later = {"strategy": "forward", "tolerance": HORIZON, "allow_exact_matches": False, "on": columns.TIMESTAMP}
    same = purchases.with_columns(bought_same=True)
    anything = purchases.select(columns.USER_ID, columns.TIMESTAMP).with_columns(bought=True)
    scored = (
        grouped.join_asof(same, by=[columns.USER_ID, GROUP], check_sortedness=False, **later)
        .join_asof(anything, by=columns.USER_ID, check_sortedness=False, **later)
        .join(share, GROUP, how="left")
    )
    table = scored.group_by(columns.TYPE).agg(
        pl.len().alias("n"),
        pl.col("bought_same").is_not_null().sum().cast(pl.Float64).alias("successes"),
        pl.col("share").fill_null(0.0).filter(pl.col("bought").is_not_null()).sum().alias("expected"),
    )
    n, successes, expected = (table[name].to_numpy().astype(np.float64) for name in ("n", "successes", "expected"))
    lift = np.log((successes + 0.5) / (n - successes + 0.5)) - np.log((expected + 0.5) / (n - expected + 0.5))
    evidence = np.maximum(successes, expected)
    return dict(zip(table[columns.TYPE].to_list(), zip(lift.tolist(), evidence.tolist(), strict=True), strict=True))


def _with_group(log: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    """The log with the most specific category of each event's item, or the item itself where it has none."""
    leaf = catalogue.select(columns.ITEM_ID, pl.col("categories").list.last().alias("leaf"))
    return (
        log.select(columns.USER_ID, columns.ITEM_ID, pl.col(columns.TYPE).cast(pl.String), columns.TIMESTAMP)
        .join(leaf, columns.ITEM_ID, how="left")
        .with_columns(pl.coalesce("leaf", columns.ITEM_ID).alias(GROUP))
    )
