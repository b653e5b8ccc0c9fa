"""The catalogue contract on the wire, decoded into columns."""

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from services.core.columns import ITEM_COLUMNS
from services.ingest.event_wire import Integer, Time
from services.ingest.rules.text import clean_text, clean_value

Scalar = str | bool | Integer | float | None
Attributes = dict[str, Scalar | list[Scalar]]


class WireItem(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One item as shops send it."""

    item_id: str
    title: str
    description: str | None = None
    brand: str | None = None
    categories: list[str] | None = None
    price: float | None = None
    currency: str | None = None
    attributes: Attributes | None = None
    image_urls: list[str] | None = None
    video_urls: list[str] | None = None
    available: bool | None = None
    published_at: Time | None = None


ITEM_TYPES: dict[str, pl.DataType] = {
    "item_id": pl.String,
    "title": pl.String,
    "description": pl.String,
    "brand": pl.String,
    "categories": pl.List(pl.String),
    "price": pl.Float64,
    "currency": pl.String,
    "attributes": pl.String,
    "image_urls": pl.List(pl.String),
    "video_urls": pl.List(pl.String),
    "available": pl.Boolean,
    "published_at": pl.Datetime("us", "UTC"),
}
"""`ITEM_COLUMNS` in polars' types; attributes are JSON text."""

ATTRIBUTES_DECODER = msgspec.json.Decoder(Attributes)

CLEANED = ("title", "description", "brand")


def item_frame(items: Sequence[WireItem]) -> pl.DataFrame:
    """The items' columns, not yet checked."""
    columns = {name: [getattr(item, name) for item in items] for name in ITEM_COLUMNS}
    columns["attributes"] = [attributes_json(value) for value in columns["attributes"]]
    return pl.DataFrame([pl.Series(name, columns[name], dtype=dtype) for name, dtype in ITEM_TYPES.items()])


def attributes_json(attributes: dict[str, Any] | None) -> str:
    """The JSON object of an item's attributes, its texts cleaned."""
    if not attributes:
        return "{}"
    return msgspec.json.encode(clean_value(attributes)).decode()


def read_attributes(text: str) -> str | None:
    """The attributes of a JSON text, cleaned and written again; None if it is no object of plain values."""
    try:
        return attributes_json(ATTRIBUTES_DECODER.decode(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def clean_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts cleaned, categories cleaned and emptied of blanks and repeats, what was not said filled in."""
    cleaned = frame.with_columns(clean_text(frame[name]) for name in CLEANED)
    categories = frame.select(row=pl.int_range(pl.len()), c="categories").explode("c", empty_as_null=True)
    categories = categories.with_columns(clean_text(categories["c"])).drop_nulls("c")
    lists = categories.unique(maintain_order=True).group_by("row", maintain_order=True).agg("c")
    whole = pl.DataFrame({"row": range(frame.height)}, schema={"row": lists.schema["row"]}).join(
        lists, on="row", how="left", maintain_order="left"
    )
    empty = pl.lit([], dtype=pl.List(pl.String))
    return cleaned.with_columns(
        whole["c"].alias("categories").fill_null(pl.Series([[]], dtype=pl.List(pl.String))),
        pl.col("image_urls").fill_null(empty),
        pl.col("video_urls").fill_null(empty),
        pl.col("available").fill_null(True),
        pl.col("attributes").fill_null("{}"),
    )
