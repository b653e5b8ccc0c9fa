"""MovieLens: ratings.csv, ratings.dat or u.data as events, movies.csv or movies.dat as items."""

from collections.abc import Iterator

import polars as pl

from services.core.types import EventType
from services.ingest.importers.base import ROW, Chunk, ImportOptions, Kind, Unreadable
from services.ingest.importers.delimited import read_delimited
from services.ingest.importers.lines import decode_lines, read_blocks
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

RATINGS_HEADER = "userId,movieId,rating,timestamp"
MOVIES_HEADER = "movieId,title,genres"
RATING_LINE = r"^\d+(?:::|\t)\d+(?:::|\t)[\d.]+(?:::|\t)\d+$"
MOVIE_LINE = r"^\d+::.+::[^:]*$"
NO_GENRE = "(no genres listed)"


class MovieLensRatings:
    """Each rating becomes a `rating` event. Half stars (0.5 to 5, the .csv files) are mapped onto 1 to 5."""

    format = "movielens"
    kind = Kind.EVENTS
    description = "MovieLens ratings.csv, ratings.dat or u.data"
    rating_scale = RatingScale(0.5, 5)
    identity = ("user_id", "item_id", "timestamp")

    def recognises(self, head: Head) -> bool:
        first = head.lines[0].strip()
        return first == RATINGS_HEADER or _matches(first, RATING_LINE)

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        names = ["user_id", "item_id", "rating", "timestamp"]
        for chunk in _records(source, options, RATINGS_HEADER, names):
            yield Chunk(
                chunk.frame.with_columns(pl.lit(str(EventType.RATING)).alias("type")), chunk.rows, chunk.unreadable
            )


class MovieLensMovies:
    """Titles, with the genres as categories and the year as an attribute."""

    format = "movielens-movies"
    kind = Kind.ITEMS
    description = "MovieLens movies.csv or movies.dat"
    rating_scale = RatingScale()
    identity = ()

    def recognises(self, head: Head) -> bool:
        first = head.lines[0].strip()
        return first == MOVIES_HEADER or _matches(first, MOVIE_LINE)

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        for chunk in _records(source, options, MOVIES_HEADER, ["item_id", "title", "genres"]):
            year = pl.col("title").str.extract(r"\((\d{4})\)\s*$", 1)
            frame = chunk.frame.select(
                ROW,
                "item_id",
                "title",
                categories=pl.col("genres").str.split("|").list.set_difference(pl.lit([NO_GENRE])),
                attributes=pl.when(year.is_not_null())
                .then(pl.concat_str(pl.lit('{"year":'), year, pl.lit("}")))
                .otherwise(pl.lit("{}")),
            )
            yield Chunk(frame, chunk.rows, chunk.unreadable)


def _matches(line: str, pattern: str) -> bool:
    return bool(pl.Series([line]).str.contains(pattern)[0])


def _records(source: Source, options: ImportOptions, header: str, names: list[str]) -> Iterator[Chunk]:
    """The newer files are CSV with a header; the older ones have neither, and `::` or tabs between fields."""
    if source.head().lines[0].strip() == header:
        for chunk in read_delimited(source, options):
            columns = dict(zip(names, header.split(","), strict=True))
            yield Chunk(chunk.frame.select(ROW, **columns), chunk.rows, chunk.unreadable)
        return
    encoding = options.encoding or "latin-1"
    for block in read_blocks(source):
        lines = pl.DataFrame({"line": decode_lines(source, block, encoding)}).with_row_index(ROW, offset=block.first)
        lines = lines.filter(pl.col("line").str.strip_chars() != "").with_columns(
            pl.col(ROW).cast(pl.Int64), fields=pl.col("line").str.replace_all("\t", "::").str.split("::")
        )
        good = pl.col("fields").list.len() == len(names)
        message = f"the line has not {len(names)} fields: write {'::'.join(names)}"
        bad = lines.filter(~good).select(ROW, "line")
        unreadable = [Unreadable(row, message, line[:1000]) for row, line in bad.iter_rows()]
        frame = lines.filter(good).select(ROW, **{n: pl.col("fields").list.get(i) for i, n in enumerate(names)})
        yield Chunk(frame, block.first + len(block.lines) - 1, unreadable)
