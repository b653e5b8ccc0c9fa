"""Text as models should see it: one Unicode form, no markup, no control characters, single spaces."""

import re
import unicodedata
from typing import Any

import polars as pl
from selectolax.lexbor import LexborHTMLParser

MARKUP = r"<[A-Za-z/!?]|&(?:#|[A-Za-z])"
"""What makes a text worth an HTML parser: a `<` or `&` that could open a tag or an entity."""

CONTROL = r"[\p{Cc}--\s]"
_MARKUP = re.compile(MARKUP)
_NO_CONTROL = dict.fromkeys(code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (*range(9, 14), 0x85))
"""For `str.translate`: what `CONTROL` matches, out."""


def clean_text(text: pl.Series) -> pl.Series:
    """The cleaned texts; a text of which nothing is left becomes null.

    NFKC (full-width letters, ligatures and compatibility forms become plain), then HTML to its visible text, control
    characters out before and after it (entities can hide some), and white space to single spaces.
    """
    if text.null_count() == len(text):
        return text.cast(pl.String)
    result = text.str.normalize("NFKC").str.replace_all(CONTROL, "")
    marked = result.str.contains(MARKUP).fill_null(False)
    if marked.any():
        visible = pl.Series(text.name, [visible_text(value) for value in result.filter(marked)], dtype=pl.String)
        result = result.scatter(marked.arg_true(), visible.str.normalize("NFKC"))
    result = result.str.replace_all(CONTROL, "").str.replace_all(r"\s+", " ").str.strip_chars()
    return result.set(result == "", None)


def clean_one(text: str) -> str | None:
    """`clean_text` of a single text, without what columns cost at any length (a millisecond): for small batches."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not text.isprintable():
        text = text.translate(_NO_CONTROL)
    if _MARKUP.search(text):
        text = unicodedata.normalize("NFKC", visible_text(text)).translate(_NO_CONTROL)
    return " ".join(text.split()) or None


def visible_text(html: str) -> str:
    """What a browser would show of `html`: scripts and styles out, entities decoded."""
    tree = LexborHTMLParser(html)
    for node in tree.css("script, style, template, noscript"):
        node.decompose()
    return tree.text(separator=" ")


def changed(before: pl.Series, after: pl.Series) -> int:
    """How many values a rule changed."""
    return int(before.ne_missing(after).sum())


def clean_value(value: Any) -> Any:
    """A small JSON value with control characters out of its texts and keys (NUL has no place in PostgreSQL).

    For the attributes of one item or user; columns of text are for `clean_text`.
    """
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c for c in value if unicodedata.category(c) != "Cc")
    if isinstance(value, dict):
        return {clean_value(key): clean_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [clean_value(inner) for inner in value]
    return value
