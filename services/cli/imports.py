"""`portrait import items|events FILE`: a file's rows into the database, with a progress bar and counts per rule."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from services.cli.output import console, error_console, human_seconds, print_json, print_table

if TYPE_CHECKING:
    from services.ingest.importers.base import ImportOptions
    from services.ingest.report import ImportReport

FileArgument = Annotated[Path, typer.Argument(help="The file, plain or gzip.", show_default=False)]
Format = Annotated[str, typer.Option("--format", help="The file's format; auto looks at its first lines.")]
Map = Annotated[
    list[str] | None, typer.Option("--map", help="Our column to theirs: user_id=reviewer,item_id=1 (repeatable).")
]
Rejects = Annotated[Path | None, typer.Option("--rejects", help="Write rows that were not stored here, as JSON lines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")]
NoHeader = Annotated[bool, typer.Option("--no-header", help="CSV without a header: map positions, counted from 0.")]
Delimiter = Annotated[str | None, typer.Option("--delimiter", help="Field separator of CSV (one character).")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="The file's encoding, such as latin-1 or gb18030.")]
Zone = Annotated[str, typer.Option("--timezone", help="Zone of times that name none, such as Europe/Berlin.")]

app = typer.Typer(help="Import events or a catalogue from a file.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    """Add `portrait import`."""
    main.add_typer(app, name="import")


@app.command("events")
def import_events(
    file: FileArgument,
    format: Format = "auto",
    map: Map = None,
    rejects: Rejects = None,
    json: AsJson = False,
    type: Annotated[str | None, typer.Option("--type", help="Event type of rows without a type column.")] = None,
    no_header: NoHeader = False,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    timezone: Zone = "UTC",
    rating_scale: Annotated[str | None, typer.Option(help="The source's scale, such as 0.5-5 or 1-10.")] = None,
    until: Annotated[str | None, typer.Option(help="Time of each user's last event in files without times.")] = None,
    keep_robots: Annotated[bool, typer.Option("--keep-robots", help="Store robot traffic too.")] = False,
) -> None:
    """Import what users did. The same file twice stores nothing new.

    Formats: jsonl, csv, tsv, parquet, amazon-reviews, user-sequences, retailrocket, movielens.
    """
    from services.ingest.importers.base import ImportOptions  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.ingest.importers.mapping import parse_mapping  # noqa: PLC0415 - as above
    from services.ingest.options import parse_event_type, parse_until, parse_zone  # noqa: PLC0415 - as above
    from services.ingest.rules.ratings import RatingScale  # noqa: PLC0415 - as above

    zone = parse_zone(timezone)
    options = ImportOptions(
        mapping=parse_mapping(map or []),
        event_type=parse_event_type(type),
        header=not no_header,
        delimiter=delimiter,
        encoding=encoding,
        rating_scale=RatingScale.parse(rating_scale) if rating_scale else None,
        until=parse_until(until, zone),
        zone=zone,
        keep_robots=keep_robots,
    )
    _import("events", file, format, options, rejects, json)


@app.command("items")
def import_items(
    file: FileArgument,
    format: Format = "auto",
    map: Map = None,
    rejects: Rejects = None,
    json: AsJson = False,
    no_header: NoHeader = False,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    timezone: Zone = "UTC",
    list_separator: Annotated[str, typer.Option(help="What separates categories within a cell.")] = "|",
) -> None:
    """Import the catalogue. A row replaces the item of its id as a whole.

    Formats: jsonl, csv, tsv, parquet, amazon-metadata, amazon-items-tsv, retailrocket-items, movielens-movies.
    """
    from services.ingest.importers.base import ImportOptions  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.ingest.importers.mapping import parse_mapping  # noqa: PLC0415 - as above
    from services.ingest.options import parse_zone  # noqa: PLC0415 - as above

    options = ImportOptions(
        mapping=parse_mapping(map or []),
        header=not no_header,
        delimiter=delimiter,
        encoding=encoding,
        zone=parse_zone(timezone),
        list_separator=list_separator,
    )
    _import("items", file, format, options, rejects, json)


def _import(kind: str, file: Path, format: str, options: "ImportOptions", rejects: Path | None, as_json: bool) -> None:
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.session import make_engine  # noqa: PLC0415 - as above
    from services.ingest.import_file import import_file  # noqa: PLC0415 - as above

    engine = make_engine(resolve_addresses(get_settings()).sqlalchemy_url)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=error_console(), transient=True) as bar:
            task = bar.add_task(f"{kind} from {file.name}", total=None, rows=0)
            report = import_file(
                engine,
                file,
                kind=kind,
                format=format,
                options=options,
                rejects=rejects,
                on_progress=lambda p: bar.update(task, completed=p.bytes_read, total=p.bytes_total, rows=p.rows),
            )
    finally:
        engine.dispose()
    if as_json:
        print_json(report.as_dict())
    else:
        _show(report)


def _show(report: "ImportReport") -> None:
    counts = report.as_dict()
    names = ("accepted", "duplicates", "unknown_items", "inserted", "updated", "unchanged", "rejected", "robots")
    parts = [f"{counts[name]:,} {name.replace('_', ' ')}" for name in names if counts.get(name)]
    console().print(
        f"{report.records:,} {report.kind} ({report.format}) in {human_seconds(report.seconds)}, "
        f"{report.records_per_second:,.0f}/s: {', '.join(parts)}"
    )
    if report.rule_rows():
        print_table(("rows", "", "rule"), [(count, done, rule) for rule, done, count in report.rule_rows()])
    if report.first_reject:
        told = f"; all of them in {report.rejects}" if report.rejects else "; see them all with --rejects FILE"
        console().print(f"first rejected: {report.first_reject}{told}", markup=False)
