"""The catalogue's rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
from psycopg.rows import dict_row
from sqlalchemy import Connection

from services.core.columns import ITEM_COLUMNS, ITEM_ID
from services.db.copy import Table, as_frame, copy_out, drop_stage, stage
from services.db.session import raw

STORED_COLUMNS: tuple[str, ...] = (*ITEM_COLUMNS, "created_at", "updated_at")
"""What `read_items` returns."""

EMPTY: dict[str, Any] = {
    "categories": pl.lit([], dtype=pl.List(pl.String)),
    "attributes": pl.lit("{}"),
    "image_urls": pl.lit([], dtype=pl.List(pl.String)),
    "video_urls": pl.lit([], dtype=pl.List(pl.String)),
    "available": pl.lit(True),
}
"""What stands for an absent value in the columns that are never null."""


@dataclass(frozen=True)
class ItemCounts:
    """What became of a batch of items."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: "ItemCounts") -> "ItemCounts":
        return ItemCounts(
            self.inserted + other.inserted, self.updated + other.updated, self.unchanged + other.unchanged
        )


def upsert_items(connection: Connection, rows: Table) -> ItemCounts:
    """Put items into the catalogue: each row replaces the item of its id as a whole.

    `rows` has the columns of `ITEM_COLUMNS` (all but `item_id` and `title` may be absent, which empties them). Of rows
    that share an id the last counts, the others count as unchanged. An unchanged item keeps its `updated_at`.
    """
    frame = as_frame(rows)
    if frame.is_empty():
        return ItemCounts()
    last = _complete(frame).unique(subset=ITEM_ID, keep="last", maintain_order=True)
    staged = stage(connection, "items", last)
    values = [column for column in ITEM_COLUMNS if column != ITEM_ID]
    old, new = (", ".join(f"{row}.{column}" for column in values) for row in ("old", "excluded"))
    statement = f"""
        WITH written AS (
          INSERT INTO items AS old ({", ".join(ITEM_COLUMNS)})
          SELECT {", ".join(ITEM_COLUMNS)} FROM {staged} ORDER BY item_id
          ON CONFLICT (item_id) DO UPDATE SET {", ".join(f"{c} = excluded.{c}" for c in values)}, updated_at = now()
          WHERE ({old}) IS DISTINCT FROM ({new})
          RETURNING xmax = 0 AS is_new)
        SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written"""
    inserted, updated = raw(connection).execute(statement).fetchone()
    drop_stage(connection)
    return ItemCounts(inserted, updated, frame.height - inserted - updated)


def read_items(
    connection: Connection,
    item_ids: Iterable[str] | None = None,
    *,
    updated_since: datetime | None = None,
) -> pa.Table:
    """Items with the columns of `STORED_COLUMNS`, in order of item_id: all, those named, or those changed since."""
    conditions, parameters = [], []
    if item_ids is not None:
        conditions.append("item_id = ANY(%s)")
        parameters.append(list(item_ids))
    if updated_since is not None:
        conditions.append("updated_at >= %s")
        parameters.append(updated_since)
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    query = f"SELECT {', '.join(STORED_COLUMNS)} FROM items{where} ORDER BY item_id"
    return copy_out(connection, query, parameters)


def get_item(connection: Connection, item_id: str) -> dict[str, Any] | None:
    """One item as stored, or None."""
    with raw(connection).cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"SELECT {', '.join(STORED_COLUMNS)} FROM items WHERE item_id = %s", (item_id,))
        return cursor.fetchone()


def delete_item(connection: Connection, item_id: str) -> bool:
    """Take an item out of the catalogue with its embeddings; its events stay. Whether it was there."""
    driver = raw(connection)
    driver.execute("DELETE FROM item_embeddings WHERE item_id = %s", (item_id,))
    driver.execute("DELETE FROM item_vectors WHERE item_id = %s", (item_id,))
    return driver.execute("DELETE FROM items WHERE item_id = %s", (item_id,)).rowcount == 1


def count_items(connection: Connection) -> int:
    """How many items the catalogue holds."""
    return raw(connection).execute("SELECT count(*) FROM items").fetchone()[0]


def item_versions(connection: Connection) -> pa.Table:
    """`item_id` and `updated_at` of the whole catalogue, in order of item_id."""
    return copy_out(connection, "SELECT item_id, updated_at FROM items ORDER BY item_id")


def read_names(connection: Connection) -> pa.Table:
    """`title`, `brand` and `categories` of the whole catalogue, in order of item_id."""
    return copy_out(connection, "SELECT title, brand, categories FROM items ORDER BY item_id")


def items_mark(connection: Connection) -> dict[str, Any]:
    """A small value that changes when items come, change or go."""
    row = raw(connection).execute("SELECT count(*), max(updated_at)::text FROM items").fetchone()
    return {"items": row[0], "updated": row[1]}


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    """All of `ITEM_COLUMNS`, with empty values where nothing was said."""
    absent = [pl.lit(None, dtype=pl.String).alias(c) for c in ITEM_COLUMNS if c not in frame.columns]
    whole = frame.with_columns(absent)
    filled = [pl.when(whole[c].is_null()).then(v).otherwise(_typed(whole, c)).alias(c) for c, v in EMPTY.items()]
    return whole.with_columns(filled).select(list(ITEM_COLUMNS))


def _typed(frame: pl.DataFrame, column: str) -> pl.Expr:
    """The column; a column that was absent has no type yet that a list could be mixed with."""
    return pl.lit(None) if frame[column].null_count() == frame.height else pl.col(column)
