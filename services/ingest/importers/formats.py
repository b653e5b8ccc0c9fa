"""Every format there is, and how a file's own is found out."""

from services.core.errors import ImportFailed, InvalidInput
from services.ingest.importers.amazon_items_tsv import AmazonItemsTsv
from services.ingest.importers.amazon_metadata import AmazonMetadata
from services.ingest.importers.amazon_reviews import AmazonReviews
from services.ingest.importers.base import Importer, Kind
from services.ingest.importers.delimited import Delimited
from services.ingest.importers.jsonl import JsonLinesEvents, JsonLinesItems
from services.ingest.importers.movielens import MovieLensMovies, MovieLensRatings
from services.ingest.importers.parquet import Parquet
from services.ingest.importers.retailrocket import RetailRocketEvents, RetailRocketItems
from services.ingest.importers.source import Source
from services.ingest.importers.user_sequences import UserSequences

AUTO = "auto"


def importers(kind: Kind) -> list[Importer]:
    """All importers of a kind, the most particular first: the order in which files are recognised."""
    if kind is Kind.EVENTS:
        return [
            Parquet(kind),
            JsonLinesEvents(),
            AmazonReviews(),
            RetailRocketEvents(),
            MovieLensRatings(),
            UserSequences(),
            Delimited("tsv", kind, "\t"),
            Delimited("csv", kind, ","),
        ]
    return [
        Parquet(kind),
        JsonLinesItems(),
        AmazonMetadata(),
        AmazonItemsTsv(),
        RetailRocketItems(),
        MovieLensMovies(),
        Delimited("tsv", kind, "\t"),
        Delimited("csv", kind, ","),
    ]


def choose_importer(source: Source, kind: Kind, format: str = AUTO) -> Importer:
    """The importer of the format named, or of the one the file looks like.

    Raises:
        InvalidInput: there is no such format.
        ImportFailed: nothing recognises the file.
    """
    known = importers(kind)
    names = ", ".join(importer.format for importer in known)
    if format != AUTO:
        named = [importer for importer in known if importer.format == format]
        if not named:
            raise InvalidInput(f"--format {format}: for {kind} it is one of {names}, or auto")
        return named[0]
    head = source.head()
    found = next((importer for importer in known if importer.recognises(head)), None)
    if found is None:
        raise ImportFailed(f"{source.path}: row 1 looks like no format of {kind}: name it with --format ({names})")
    return found
