"""What of an item is encoded, and the hash that tells whether it changed."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

TEXT_LIMIT = 1_500
"""Characters of an item's text; encoders of this size read about 256 tokens."""
DESCRIPTION_LIMIT = 800
HASH_BYTES = 16


def item_texts(items: pl.DataFrame) -> list[str]:
    """The text of each item: title, brand, categories, attributes, description, in this order.

    `items` has `title`, `brand`, `categories` (list), `attributes` (JSON text) and `description`. Categories
    go from the most specific, as the encoder weighs early words most.
    """
    parts = [
        pl.col("title"),
        _sentence("brand", pl.col("brand")),
        _sentence("category", pl.col("categories").list.reverse().list.head(4).list.join(", ")),
        attribute_text(pl.col("attributes")),
        pl.col("description").str.slice(0, DESCRIPTION_LIMIT),
    ]
    joined = (
        pl.concat_str([part.fill_null("") for part in parts], separator=". ")
        .str.replace_all(r"(\. )+", ". ")
        .str.strip_chars(" .")
    )
    return items.select(joined.str.slice(0, TEXT_LIMIT).alias("text"))["text"].to_list()


def attribute_text(attributes: pl.Expr) -> pl.Expr:
    """`{"colour":"green","sizes":["S","M"]}` as `colour green, sizes S M`."""
    return (
        attributes.str.replace_all(r'["\[\]{}]', " ")
        .str.replace_all(r"\s*:\s*", " ")
        .str.replace_all(r"\s+", " ")
        .str.replace_all(r" ,", ",")
        .str.strip_chars(" ,")
    )


def content_hashes(version: str, contents: Iterable[Any]) -> list[bytes | None]:
    """A 16-byte BLAKE2b digest of each content under an encoder version; None for empty content.

    A content is a text or a sequence of texts (URLs, say).
    """
    return [_digest(version, content) if content else None for content in contents]


def _digest(version: str, content: str | Sequence[str]) -> bytes:
    text = content if isinstance(content, str) else "\x1f".join(content)
    return hashlib.blake2b(f"{version}\x1e{text}".encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def _sentence(word: str, column: pl.Expr) -> pl.Expr:
    return pl.when(column.str.len_chars() > 0).then(pl.concat_str([pl.lit(f"{word} "), column]))
