"""The RetailRocket data set: events.csv, and its item properties as a (hashed) catalogue."""

from collections.abc import Iterator

import polars as pl

from services.core.types import EventType
from services.ingest.importers.base import CHUNK_ROWS, ROW, Chunk, ImportOptions, Kind
from services.ingest.importers.delimited import read_delimited
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

EVENT_HEADER = "timestamp,visitorid,event,itemid,transactionid"
PROPERTY_HEADER = "timestamp,itemid,property,value"
TYPES = {"view": EventType.VIEW, "addtocart": EventType.CART, "transaction": EventType.PURCHASE}


class RetailRocketEvents:
    """views, additions to the cart and purchases, with times in milliseconds."""

    format = "retailrocket"
    kind = Kind.EVENTS
    description = "RetailRocket events.csv"
    rating_scale = RatingScale()
    identity = ("user_id", "item_id", "type", "timestamp")

    def recognises(self, head: Head) -> bool:
        return head.lines[0].strip() == EVENT_HEADER

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        for chunk in read_delimited(source, options):
            frame = chunk.frame.select(
                ROW,
                "timestamp",
                user_id="visitorid",
                item_id="itemid",
                type=pl.col("event").replace({theirs: str(ours) for theirs, ours in TYPES.items()}),
            )
            yield Chunk(frame, chunk.rows, chunk.unreadable)


class RetailRocketItems:
    """item_properties_part*.csv: category and availability, the newest value of each; everything else is hashed.

    The file is a log of changes, so what it says of an item is known only at its end: memory grows with the number
    of items (one category and one flag each), not with the file. Names are not published: a title is "Item ID".
    """

    format = "retailrocket-items"
    kind = Kind.ITEMS
    description = "RetailRocket item_properties_part1.csv or part2.csv"
    rating_scale = RatingScale()
    identity = ()

    def recognises(self, head: Head) -> bool:
        return head.lines[0].strip() == PROPERTY_HEADER

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        newest: pl.DataFrame | None = None
        rows = 0
        for chunk in read_delimited(source, options):
            newest, rows = _merged(newest, chunk.frame), chunk.rows
            yield Chunk(pl.DataFrame(schema={ROW: pl.Int64, "item_id": pl.String}), rows, chunk.unreadable)
        if newest is None:
            return
        items = _items(newest)
        for start in range(0, items.height, CHUNK_ROWS):
            yield Chunk(items[start : start + CHUNK_ROWS], rows)


def _merged(newest: pl.DataFrame | None, chunk: pl.DataFrame) -> pl.DataFrame:
    rows = chunk.with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))
    interesting = pl.col("property").is_in(["categoryid", "available"])
    rows = rows.with_columns(pl.when(interesting).then("property").otherwise(pl.lit("item")).alias("property"))
    rows = rows if newest is None else pl.concat([newest, rows])
    return rows.sort("timestamp", maintain_order=True).unique(["itemid", "property"], keep="last", maintain_order=True)


def _items(newest: pl.DataFrame) -> pl.DataFrame:
    def value(name: str) -> pl.Expr:
        return pl.col("value").filter(pl.col("property") == name).last()

    return (
        newest.group_by("itemid", maintain_order=True)
        .agg(pl.col(ROW).min(), category=value("categoryid"), available=value("available"))
        .select(
            ROW,
            item_id="itemid",
            title=pl.lit("Item ") + pl.col("itemid"),
            categories=pl.when(pl.col("category").is_not_null())
            .then(pl.concat_list(pl.lit("Category ") + pl.col("category")))
            .otherwise(pl.lit([], dtype=pl.List(pl.String))),
            available=pl.col("available").fill_null("1") == "1",
        )
    )
