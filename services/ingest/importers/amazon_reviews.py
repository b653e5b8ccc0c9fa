"""Amazon product reviews as JSON lines: the public collections of 2014, 2018 and 2023.

2014 and 2018: reviewerID, asin, overall, unixReviewTime (seconds), reviewText, summary.
2023: user_id, parent_asin (the product whose variants share reviews; asin is the variant), rating, timestamp
(milliseconds), text, title.
"""

from collections.abc import Iterator

import msgspec
import polars as pl

from services.core.types import EventType
from services.ingest.importers.base import ROW, Chunk, ImportOptions, Kind
from services.ingest.importers.json_lines import read_records
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

Number = int | float | str | None


class Review(msgspec.Struct, gc=False):
    """The fields of all three generations that say something about the user's taste."""

    reviewerID: str | None = None
    user_id: str | None = None
    asin: str | None = None
    parent_asin: str | None = None
    overall: Number = None
    rating: Number = None
    unixReviewTime: Number = None
    timestamp: Number = None
    reviewTime: str | None = None
    reviewText: str | None = None
    text: str | None = None
    summary: str | None = None
    title: str | None = None


DECODER = msgspec.json.Decoder(Review)
GENERATIONS = ('"reviewerID"', '"parent_asin"')


class AmazonReviews:
    """Each review becomes a `review` event with its rating; a review without words a `rating` event."""

    format = "amazon-reviews"
    kind = Kind.EVENTS
    description = "Amazon reviews of 2014, 2018 or 2023, JSON lines"
    rating_scale = RatingScale(1, 5)
    identity = ("user_id", "item_id", "timestamp", "text")

    def recognises(self, head: Head) -> bool:
        line = head.lines[0]
        rated = '"overall"' in line or '"rating"' in line
        return line.lstrip().startswith("{") and rated and any(name in line for name in GENERATIONS)

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        for records in read_records(source, DECODER):
            yield Chunk(_frame(records.rows, records.values), records.read, records.unreadable)


def _frame(rows: list[int], reviews: list[Review]) -> pl.DataFrame:
    texts = [_joined(r.summary or r.title, r.reviewText or r.text) for r in reviews]
    return pl.DataFrame(
        {
            ROW: pl.Series(rows, dtype=pl.Int64),
            "user_id": pl.Series([r.reviewerID or r.user_id for r in reviews], dtype=pl.String),
            "item_id": pl.Series([r.parent_asin or r.asin for r in reviews], dtype=pl.String),
            "type": pl.Series([EventType.REVIEW if text else EventType.RATING for text in texts], dtype=pl.String),
            "timestamp": pl.Series([_text(_time(r)) for r in reviews], dtype=pl.String),
            "rating": pl.Series(
                [_text(r.overall if r.overall is not None else r.rating) for r in reviews], dtype=pl.String
            ),
            "text": pl.Series(texts, dtype=pl.String),
        }
    )


def _joined(summary: str | None, text: str | None) -> str | None:
    """Summary and text as one; a summary that the text repeats is left out."""
    summary, text = (summary or "").strip(), (text or "").strip()
    if not summary or text.startswith(summary):
        return text or None
    if not text:
        return summary
    return f"{summary}{'' if summary[-1] in '.!?…' else '.'} {text}"


def _time(review: Review) -> Number:
    if review.unixReviewTime is not None:
        return review.unixReviewTime
    return review.timestamp if review.timestamp is not None else review.reviewTime


def _text(value: Number) -> str | None:
    return None if value is None else str(value)
