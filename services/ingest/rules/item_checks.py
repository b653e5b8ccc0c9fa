"""What a catalogue item must satisfy, shared by HTTP ingest and file imports."""

import polars as pl

from services.core.columns import ITEM_ID
from services.ingest.rules import limits
from services.ingest.rules.checks import Check, id_checks, outside, too_long
from services.ingest.rules.names import Rule

URL = r"^(?:https?://|file:)[^\s\p{Cc}]+$"
CURRENCY = r"^[A-Z]{3}$"


def item_checks() -> list[Check]:
    """The checks, in the order in which a row's first failure is reported. Columns are those of `ITEM_COLUMNS`."""
    return [
        *id_checks(ITEM_ID),
        Check(
            Rule.MALFORMED,
            "title-missing",
            "title is missing or empty: an item needs a title to be shown and encoded",
            pl.col("title").is_null() | (pl.col("title").str.strip_chars() == ""),
        ),
        too_long("title", limits.TITLE_LENGTH),
        too_long("description", limits.DESCRIPTION_LENGTH),
        too_long("brand", limits.NAME_LENGTH),
        *_list_checks("categories", limits.CATEGORIES, limits.NAME_LENGTH),
        outside("price", 0, limits.PRICE_MAX),
        Check(
            Rule.MALFORMED,
            "currency-unknown",
            "currency must be a three-letter ISO 4217 code such as EUR",
            ~pl.col("currency").str.contains(CURRENCY),
        ),
        Check(
            Rule.MALFORMED,
            "attributes-too-large",
            f"attributes take more than {limits.ATTRIBUTES_BYTES:,} bytes: keep what filters and encoders need",
            pl.col("attributes").str.len_bytes() > limits.ATTRIBUTES_BYTES,
        ),
        *(c for column in ("image_urls", "video_urls") for c in _url_checks(column)),
        Check(
            Rule.IMPOSSIBLE,
            "published-too-old",
            "published_at is before 1900: check its unit and format",
            pl.col("published_at").dt.year() < 1900,
        ),
        Check(
            Rule.IMPOSSIBLE,
            "published-too-late",
            "published_at is after the year 9999: leave it out where it is not known",
            pl.col("published_at").dt.year() > 9999,
        ),
    ]


def _list_checks(column: str, count: int, length: int) -> list[Check]:
    values = pl.col(column)
    return [
        Check(
            Rule.MALFORMED,
            "list-too-long",
            f"{column} has more than {count} entries: send the most specific ones",
            values.list.len() > count,
        ),
        Check(
            Rule.MALFORMED,
            "text-too-long",
            f"an entry of {column} is longer than {length:,} characters: shorten it",
            values.list.eval(pl.element().str.len_chars()).list.max() > length,
        ),
    ]


def _url_checks(column: str) -> list[Check]:
    wrong = ~pl.col(column).list.eval(pl.element().str.contains(URL)).list.all()
    message = f"an entry of {column} is not a URL: send http://, https:// or file: addresses (below the media folder)"
    return [
        *_list_checks(column, limits.URLS, limits.URL_LENGTH),
        Check(Rule.MALFORMED, "url-invalid", message, wrong),
    ]
