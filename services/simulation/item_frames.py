"""Titles, descriptions and attributes: catalogue arrays turned into item rows of the contract."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from services.core.columns import ITEM_COLUMNS
from services.simulation.catalogue import Catalogue
from services.simulation.ids import item_ids
from services.simulation.vocabulary import Vocabulary, vocabulary

CURRENCY = "GBP"
BATCH_ITEMS = 20_000
TITLES = (
    "{line} {material} {noun}",
    "{brand} {material} {noun}",
    "{brand} {line} {material} {noun}",
    "{brand} {line} {noun}",
)


def picture_path(item_id: pl.Expr) -> pl.Expr:
    """Where a product's picture lies under the media folder: `products/NN/ID.jpg`."""
    return pl.format("products/{}/{}.jpg", item_id.str.slice(-2), item_id)


def item_frames(catalogue: Catalogue, batch_items: int = BATCH_ITEMS) -> Iterator[pl.DataFrame]:
    """Item rows in batches. `attributes` is the text of a JSON object; `published_at` is UTC."""
    for first in range(0, len(catalogue.leaf), batch_items):
        yield _frame(catalogue, np.arange(first, min(first + batch_items, len(catalogue.leaf))))


def _frame(catalogue: Catalogue, items: np.ndarray) -> pl.DataFrame:
    words = vocabulary()
    leaf = catalogue.leaf[items]
    parts = _parts(words, catalogue, items)
    paths = pl.Series([leaf["path"] for leaf in words.leaves], dtype=pl.List(pl.String))
    return parts.with_columns(
        title=_title(catalogue.title_pattern[items]),
        description=pl.format(
            "{} by {} with {} and {}. Good for {}. {}",
            _capitalised(pl.col("material") + " " + pl.col("noun")),
            "brand",
            "detail_first",
            "detail_second",
            "use",
            "style_sentence",
        ),
        categories=paths.gather(leaf),
        price=pl.Series(catalogue.price[items]),
        currency=pl.lit(CURRENCY),
        attributes=_attributes(),
        image_urls=pl.concat_list(pl.lit("file:") + picture_path(pl.col("item_id"))),
        video_urls=pl.lit([], dtype=pl.List(pl.String)),
        available=pl.Series(catalogue.available[items]),
        published_at=pl.Series(catalogue.published_us[items]).cast(pl.Datetime("us", "UTC")),
    ).select(list(ITEM_COLUMNS))


def _attributes() -> pl.Expr:
    """JSON of the attributes that the product has; `style` and `line` always do, and stand last."""
    fields = pl.struct(
        pl.when(~pl.col("packaged")).then("colour").alias("colour"),
        "material",
        pl.when(pl.col("size") != "one size").then("size").alias("size"),
        "style",
        "line",
    )
    return fields.struct.json_encode().str.replace_all(r'"[a-z]+":null,', "")


def _parts(words: Vocabulary, catalogue: Catalogue, items: np.ndarray) -> pl.DataFrame:
    leaf = catalogue.leaf[items]
    return pl.DataFrame(
        {
            "item_id": item_ids(items),
            "brand": pl.Series(words.brand_names).gather(catalogue.brand[items]),
            "line": words.lines.gather(catalogue.line[items]),
            "material": words.materials.flat.gather(catalogue.material[items]),
            "noun": words.nouns.flat.gather(catalogue.noun[items]),
            "colour": pl.Series(words.colour_names).gather(catalogue.colour[items]),
            "size": words.sizes.flat.gather(catalogue.size[items]),
            "style": pl.Series(words.style_names).gather(catalogue.style[items]),
            "detail_first": words.details.flat.gather(catalogue.detail_first[items]),
            "detail_second": words.details.flat.gather(catalogue.detail_second[items]),
            "use": words.uses.flat.gather(catalogue.use[items]),
            "style_sentence": words.style_sentences.flat.gather(catalogue.style_sentence[items]),
            "packaged": words.leaf_packaged[leaf],
            "sized": words.leaf_sized_title[leaf],
        }
    )


def _title(pattern: np.ndarray) -> pl.Expr:
    """One of the title patterns, then the colour and the size where they belong in a title."""
    heads = [_fill(template) for template in TITLES]
    head = pl.coalesce(*(pl.when(pl.lit(pl.Series(pattern == number))).then(text) for number, text in enumerate(heads)))
    colour = pl.when(~pl.col("packaged")).then("colour")
    size = pl.when("sized").then("size")
    return _capitalised(pl.concat_str(head, colour, size, separator=", ", ignore_nulls=True))


def _fill(template: str) -> pl.Expr:
    fields = [part.strip("{}") for part in template.split()]
    return pl.concat_str(*fields, separator=" ")


def _capitalised(text: pl.Expr) -> pl.Expr:
    return text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1)
