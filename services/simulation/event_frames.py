"""Event rows: the arrays of a block turned into one sorted frame with the columns of the contract."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from services.core.columns import EVENT_COLUMNS
from services.core.types import EventType
from services.simulation.ids import item_ids

TYPES = [
    EventType.SEARCH,
    EventType.IMPRESSION,
    EventType.CLICK,
    EventType.VIEW,
    EventType.FAVOURITE,
    EventType.CART,
    EventType.PURCHASE,
    EventType.RATING,
    EventType.REVIEW,
    EventType.HIDE,
]
"""In the order they happen, where two have the same time."""

SURFACES = ["home", "search", "category", "product", "checkout", "orders"]
CHECKOUT, ORDERS = 4, 5

_POLARS_TYPES = {
    "string": pl.String(),
    "timestamp[us, tz=UTC]": pl.Datetime("us", "UTC"),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
}
EVENT_SCHEMA: dict[str, pl.DataType] = {
    name: _POLARS_TYPES[kind] for name, kind in EVENT_COLUMNS.items() if name != "synthetic_time"
}
"""The canonical event columns; simulated times count as real ones, so nothing flags them."""

ABSENT = -1
_NUMBERS = ("item", "visit", "page", "position", "dwell_ms", "quantity", "rating")
_DECIMALS = ("depth", "price")
_TEXTS = ("text", "query")


@dataclass
class EventRows:
    """Collects rows by event type; columns that are not given are absent."""

    parts: list[pl.DataFrame] = field(default_factory=list)

    def add(
        self, kind: EventType, surface: np.ndarray | int, user: np.ndarray, time_us: np.ndarray, **columns: object
    ) -> None:
        """`user` are user numbers, `columns` are arrays or Series named as in the schema, or item, visit, page."""
        n = len(user)
        values = {
            "user": pl.Series(user, dtype=pl.Int64),
            "time": pl.Series(time_us, dtype=pl.Int64),
            "type": pl.Series(np.full(n, TYPES.index(kind)), dtype=pl.Int8),
            "surface": pl.Series(np.broadcast_to(surface, n), dtype=pl.Int8),
        }
        for name in _NUMBERS:
            values[name] = pl.Series(np.broadcast_to(columns.pop(name, ABSENT), n), dtype=pl.Int64)
        for name in _DECIMALS:
            values[name] = pl.Series(np.broadcast_to(columns.pop(name, np.nan), n), dtype=pl.Float64)
        for name in _TEXTS:
            texts = columns.pop(name, None)
            values[name] = pl.repeat(None, n, dtype=pl.String, eager=True) if texts is None else texts
        if columns:
            raise TypeError(f"unknown event columns: {sorted(columns)}")
        self.parts.append(pl.DataFrame(values))

    def sorted(self) -> pl.DataFrame:
        """All rows by user, time, type and position."""
        return pl.concat(self.parts).sort("user", "time", "type", "position", "item", maintain_order=True)


def contract_frame(rows: pl.DataFrame, user_names: pl.Series, prefix: str = "") -> pl.DataFrame:
    """Sorted rows as events of the contract (EVENT_SCHEMA). `user_names` are the ids of user numbers 0, 1, ….

    Ratings and reviews come from the order page, outside a session and a request. Ids are built from the user and a
    running number, so the same shop always gives the same ids.
    """
    user = pl.Series("user_id", user_names.gather(rows["user"]))
    number = pl.int_range(pl.len()).over("user").cast(pl.String).str.zfill(6)
    number_of = {
        name: pl.when((pl.col(name) >= 0) & (pl.col("surface") != ORDERS)).then(
            (pl.col(name) - pl.col(name).filter(pl.col(name) >= 0).min().over("user")).cast(pl.String)
        )
        for name in ("visit", "page")
    }
    return (
        rows.with_columns(user)
        .with_columns(
            event_id=pl.concat_str(pl.lit(f"e-{prefix}"), "user_id", pl.lit("-"), number),
            session_id=pl.concat_str(pl.lit(f"s-{prefix}"), "user_id", pl.lit("-"), number_of["visit"]),
            request_id=pl.concat_str(pl.lit(f"r-{prefix}"), "user_id", pl.lit("-"), number_of["page"]),
            item_id=_items(rows["item"]),
            type=pl.Series([kind.value for kind in TYPES]).gather(rows["type"]),
            timestamp=pl.col("time").cast(pl.Datetime("us", "UTC")),
            surface=pl.Series(SURFACES).gather(rows["surface"]),
            **{name: _present(name) for name in ("position", "dwell_ms", "quantity", "rating")},
            **{name: pl.col(name).fill_nan(None) for name in _DECIMALS},
        )
        .select(pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items())
    )


def _present(name: str) -> pl.Expr:
    return pl.when(pl.col(name) >= 0).then(pl.col(name))


def _items(item: pl.Series) -> pl.Series:
    ids = item_ids(item.to_numpy())
    return pl.select(pl.when(pl.lit(item >= 0)).then(pl.lit(ids))).to_series()
