"""What was shown: written in bulk by the gateway, read for attribution and training."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import polars as pl
import pyarrow as pa
from sqlalchemy import Connection

from services.db.copy import copy_in, copy_out

COLUMNS = (
    "request_id",
    "position",
    "item_id",
    "user_id",
    "surface",
    "timestamp",
    "score",
    "propensity",
    "sources",
    "model",
)


@dataclass(frozen=True)
class ServedList:
    """One list as it was answered; the sequences are parallel, in the list's order. `timestamp` in epoch seconds."""

    request_id: str
    user_id: str
    surface: str | None
    timestamp: float
    model: str
    item_ids: Sequence[str]
    scores: Sequence[float]
    propensities: Sequence[float]
    sources: Sequence[Sequence[str]]


def insert_impressions(connection: Connection, lists: Sequence[ServedList]) -> int:
    """Write the lists, one row an item. Returns the number of rows. `request_id`s are new: the gateway draws them."""
    per_list = pl.DataFrame(
        {
            "request_id": [served.request_id for served in lists],
            "user_id": [served.user_id for served in lists],
            "surface": pl.Series([served.surface for served in lists], dtype=pl.String),
            "timestamp": [datetime.fromtimestamp(served.timestamp, UTC) for served in lists],
            "model": [served.model for served in lists],
            "position": [list(range(len(served.item_ids))) for served in lists],
        },
        schema_overrides={"position": pl.List(pl.Int32)},
    )
    rows = per_list.explode("position").filter(pl.col("position").is_not_null())
    rows = rows.with_columns(
        pl.Series("item_id", list(chain.from_iterable(s.item_ids for s in lists)), dtype=pl.String),
        pl.Series("score", list(chain.from_iterable(s.scores for s in lists)), dtype=pl.Float32),
        pl.Series("propensity", list(chain.from_iterable(s.propensities for s in lists)), dtype=pl.Float32),
        pl.Series("sources", list(chain.from_iterable(s.sources for s in lists)), dtype=pl.List(pl.String)),
    )
    if rows.height:
        copy_in(connection, "impressions", rows.select(COLUMNS))
    return rows.height


def read_impressions(connection: Connection, *, since: datetime, until: datetime) -> pa.Table:
    """The impressions shown in [since, until), by (timestamp, request_id, position)."""
    query = (
        f"SELECT {', '.join(COLUMNS)} FROM impressions WHERE timestamp >= %s AND timestamp < %s "
        "ORDER BY timestamp, request_id, position"
    )
    return copy_out(connection, query, [since, until])
