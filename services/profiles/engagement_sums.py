"""What item engagement is summed from: one definition for full recomputes and for updates from new events alone.

Every sum is additive over events, so that events may be added in any order and batching, and those that leave a sliding
window are taken out again. Weights are rounded to multiples of 2^-24: float64 adds and subtracts such numbers without
error (up to 2^29 a sum), so that an update equals a recompute to the last bit and an emptied window is exactly zero.
Popularity's decayed sum alone is real-valued; nothing is ever taken out of it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa

from services.core import columns
from services.core.types import WINDOWS, EventType
from services.profiles.reference import ReferenceStatistics

UNIT = 2.0**-24
MICROSECONDS_A_DAY = 86_400e6

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

SUMS: dict[str, tuple[str | None, pl.Expr]] = {
    **{
        name: (window, (pl.col(columns.TYPE) == event_type.value).cast(pl.Float64))
        for name, (event_type, window) in COUNTS.items()
    },
    "exposure": ("30d", pl.col("examined")),
    "recent": ("7d", pl.col("weight").clip(lower_bound=0)),
    "month": ("30d", pl.col("weight").clip(lower_bound=0)),
    "rating_sum": (None, pl.col("rating").fill_null(0.0)),
    "rating_count": (None, pl.col("rating").is_not_null().cast(pl.Float64)),
    "sentiment_sum": (None, pl.col("sentiment").fill_null(0.0)),
    "sentiment_count": (None, pl.col("sentiment").is_not_null().cast(pl.Float64)),
}
"""What is summed over an item's events, and over which window of event time (None: all of it)."""

USERS, DECAYED, NEWEST = "users_total", "decayed", "newest"
STATE_COLUMNS: tuple[str, ...] = (*SUMS, USERS, DECAYED)
"""The numbers kept of an item. `decayed` is as of `newest`, the time of the item's newest event."""

ENGAGEMENT_WINDOWS: tuple[str, ...] = tuple(dict.fromkeys(w for w, _ in SUMS.values() if w is not None))

_TYPES = {
    columns.USER_ID: pa.string(),
    columns.ITEM_ID: pa.string(),
    columns.TYPE: pa.string(),
    columns.TIMESTAMP: pa.timestamp("us", "UTC"),
    "position": pa.int32(),
    "rating": pa.float32(),
    "sentiment": pa.float32(),
}
EVENT_INPUT: tuple[str, ...] = tuple(_TYPES)
"""The event columns that engagement reads; the last three may be absent."""


@dataclass(frozen=True)
class EngagementConfig:
    """`half_life_days`: of popularity. The `*_strength` are pseudo-observations at the shop's mean."""

    half_life_days: float = 30.0
    trend_strength: float = 3.0
    rating_strength: float = 5.0
    rate_strength_bounds: tuple[float, float] = (5.0, 1_000.0)


def positive_types(reference: ReferenceStatistics) -> list[str]:
    """The types of events by which a user counts as one of an item's users."""
    return sorted(kind for kind, weight in reference.importance.items() if round(weight / UNIT) > 0)


def basis_of(reference: ReferenceStatistics, config: EngagementConfig) -> str:
    """Names the weights that sums are made with: other weights, other sums."""
    weights = {
        "importance": dict(sorted(reference.importance.items())),
        "examination": list(reference.examination),
        "half_life_days": config.half_life_days,
    }
    return hashlib.blake2b(json.dumps(weights).encode(), digest_size=12).hexdigest()


def entering_sums(
    events: pa.Table | pa.RecordBatch,
    as_of: datetime,
    reference: ReferenceStatistics,
    config: EngagementConfig,
    *,
    users: bool = False,
) -> pl.DataFrame:
    """What events add to their items' sums: one row an item, `item_id`, `newest`, `STATE_COLUMNS`.

    Events after `as_of` and those without an item are left out. `users`: count distinct users too, which holds where
    all events of a user on an item are in `events`; 0 otherwise.
    """
    weighed = _weighed(events, reference).filter(pl.col(columns.TIMESTAMP) <= as_of)
    age = (pl.lit(as_of) - pl.col(columns.TIMESTAMP)).dt.total_microseconds() / 1e6
    summed = [
        (value if window is None else value.filter(age < WINDOWS[window])).sum().alias(name)
        for name, (window, value) in SUMS.items()
    ]
    distinct = pl.col(columns.USER_ID).filter(pl.col("weight") > 0).n_unique().cast(pl.Float64)
    return _as_of_newest(
        weighed.with_columns(pl.lit(1.0).alias(DECAYED), pl.col(columns.TIMESTAMP).alias(NEWEST)),
        [*summed, (distinct if users else pl.lit(0.0)).alias(USERS)],
        pl.col("weight"),
        config,
    )


def leaving_sums(
    events: pa.Table | pa.RecordBatch, reference: ReferenceStatistics, config: EngagementConfig
) -> pl.DataFrame:
    """What events that left a window take out of their items' sums; `window` names the one each event left."""
    left = [
        -(value.filter(pl.col("window") == window).sum() if window else pl.lit(0.0)).alias(name)
        for name, (window, value) in SUMS.items()
    ]
    return (
        _weighed(events, reference)
        .group_by(columns.ITEM_ID)
        .agg(
            pl.lit(None, pl.Datetime("us", "UTC")).alias(NEWEST),
            *[expression.alias(name) for name, expression in zip(SUMS, left, strict=True)],
            pl.lit(0.0).alias(USERS),
            pl.lit(0.0).alias(DECAYED),
        )
        .select(columns.ITEM_ID, NEWEST, *STATE_COLUMNS)
        .collect()
    )


def merge_sums(parts: Iterable[pl.DataFrame], config: EngagementConfig) -> pl.DataFrame:
    """The sums of several parts: one row an item, sorted by item id."""
    whole = pl.concat(parts).lazy()
    added = [pl.col(name).sum() for name in (*SUMS, USERS)]
    return _as_of_newest(whole, added, pl.lit(1.0), config).sort(columns.ITEM_ID)


def with_users(sums: pl.DataFrame, users: pl.DataFrame | None) -> pl.DataFrame:
    """The sums with how many `users` (`item_id`, `users`) are new on each item."""
    if users is None or users.is_empty():
        return sums
    joined = sums.join(users.rename({"users": "counted"}), columns.ITEM_ID, how="left", maintain_order="left")
    return joined.with_columns(pl.col("counted").fill_null(0.0).alias(USERS)).drop("counted")


def empty_sums() -> pl.DataFrame:
    """Sums of no item."""
    numbers = dict.fromkeys(STATE_COLUMNS, pl.Float64)
    return pl.DataFrame(schema={columns.ITEM_ID: pl.String, NEWEST: pl.Datetime("us", "UTC"), **numbers})


def _as_of_newest(rows: pl.LazyFrame, summed: list[pl.Expr], weight: pl.Expr, config: EngagementConfig) -> pl.DataFrame:
    """Group by item; the decayed sum is formed as of the newest row of all and moved to each item's own newest."""

    def older(than: pl.Expr) -> pl.Expr:
        return (than - pl.col(NEWEST)).dt.total_microseconds() / (MICROSECONDS_A_DAY * config.half_life_days)

    last = pl.col("last_of_all")
    return (
        rows.with_columns(pl.col(NEWEST).max().alias("last_of_all"))
        .with_columns((weight * pl.col(DECAYED) * pl.lit(2.0).pow(-older(last))).alias(DECAYED))
        .group_by(columns.ITEM_ID)
        .agg(pl.col(NEWEST).max(), *summed, pl.col(DECAYED).sum(), last.first())
        .with_columns((pl.col(DECAYED) * pl.lit(2.0).pow(older(last))).fill_null(0.0))
        .select(columns.ITEM_ID, NEWEST, *STATE_COLUMNS)
        .collect()
    )


def _weighed(events: pa.Table | pa.RecordBatch, reference: ReferenceStatistics) -> pl.LazyFrame:
    """The events with an item, with `weight`, `examined` (0 but for impressions), `rating`, `sentiment` as summed."""
    curve = dict(enumerate(reference.examination))
    position = pl.col("position").cast(pl.Int64).fill_null(0).clip(0, len(curve) - 1)
    kind = pl.col(columns.TYPE).cast(pl.String)
    examined = pl.when(kind == EventType.IMPRESSION.value).then(position.replace_strict(curve, return_dtype=pl.Float64))
    weight = kind.replace_strict(dict(reference.importance), default=0.0, return_dtype=pl.Float64)
    return (
        pl.DataFrame(_with_optional_columns(events))
        .lazy()
        .filter(pl.col(columns.ITEM_ID).is_not_null())
        .with_columns(kind)
        .with_columns(
            _exact(weight).alias("weight"),
            _exact(examined.otherwise(0.0)).alias("examined"),
            _exact(pl.col("rating").cast(pl.Float64)).alias("rating"),
            _exact(pl.col("sentiment").cast(pl.Float64)).alias("sentiment"),
        )
    )


def _exact(value: pl.Expr) -> pl.Expr:
    return (value / UNIT).round() * UNIT


def _with_optional_columns(events: pa.Table | pa.RecordBatch) -> pa.Table:
    table = pa.Table.from_batches([events]) if isinstance(events, pa.RecordBatch) else events
    for name in ("position", "rating", "sentiment"):
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), _TYPES[name]))
    return table
