"""The small Amazon catalogue as TSV: asin, title, brand, categories, price, sales_rank."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from services.ingest.importers.base import Chunk, ImportOptions, Kind
from services.ingest.importers.delimited import Delimited
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

HEADER = ["asin", "title", "brand", "categories", "price", "sales_rank"]
MAPPING = {"item_id": "asin", "attributes.sales_rank": "sales_rank"}


class AmazonItemsTsv:
    """`--format tsv --map item_id=asin,attributes.sales_rank=sales_rank`, recognised by its header."""

    format = "amazon-items-tsv"
    kind = Kind.ITEMS
    description = "Amazon catalogue as TSV: asin, title, brand, categories, price, sales_rank"
    rating_scale = RatingScale()
    identity = ()

    def recognises(self, head: Head) -> bool:
        return head.lines[0].split("\t") == HEADER

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        mapping = {**MAPPING, **options.mapping}
        for chunk in Delimited("tsv", Kind.ITEMS, "\t").read(source, replace(options, mapping=mapping)):
            yield replace(chunk, frame=chunk.frame.with_columns(_title()))


def _title() -> pl.Expr:
    """The title; a few products have none and are named by brand and ASIN, so that their purchases keep an item."""
    untitled = pl.concat_str([pl.col("brand").fill_null("Item"), pl.col("item_id")], separator=" ")
    return pl.when(pl.col("title").str.strip_chars() != "").then(pl.col("title")).otherwise(untitled).alias("title")
