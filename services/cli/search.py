"""`portrait search`: the state of search, building it anew, and what people search for."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.output import console, human_seconds, print_json, print_table
from services.cli.search_synonyms import group as synonym_group
from services.core.addresses import resolve_addresses
from services.core.paths import HomePaths
from services.core.settings import Settings, get_settings

if TYPE_CHECKING:
    from services.db.query_statistics import QueryRow
    from services.search.report import Disappointment

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Search: its index, and what people search for.", no_args_is_help=True)
    for command in (status, rebuild, report):
        group.command()(command)
    group.add_typer(synonym_group(), name="synonyms")
    app.add_typer(group, name="search")


def status(json: Json = False) -> None:
    """The index, whether it follows the catalogue, and how much is known of queries. Exit code 1: no index."""
    found = _status()
    if json:
        print_json(found)
    elif found["index"] is None:
        console().print("There is no search index yet: import items, a worker then builds it; or `search rebuild`.")
    else:
        state = "up to date" if found["current"] else "behind the catalogue: a worker brings it up to date"
        console().print(f"Index {found['index']}, {human_seconds(found['age_s'])} old, {state}")
        totals = found["totals"]
        console().print(
            f"{found['items']:,} items; {totals['searches']:,} searches of {totals['queries']:,} queries, "
            f"{totals['zero_results']:,} without results, {totals['clicked']:,} clicked"
        )
    if found["index"] is None:
        raise typer.Exit(1)


def rebuild(
    update: Annotated[bool, typer.Option("--update", help="Only what changed since the last time.")] = False,
    json: Json = False,
) -> None:
    """Build the index anew beside the one in use and count all searches again; serving goes on meanwhile."""
    from services.cli.work import run_and_watch  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.types import JobKind  # noqa: PLC0415 - as above

    parameters = {} if update else {"mode": "all"}
    result = run_and_watch(resolve_addresses(get_settings()), JobKind.SEARCH, parameters, label="search")
    if json:
        print_json(result)
        return
    index, memory = result["index"], result["memory"]
    console().print(
        f"Index {index['version']} of {index['items']:,} items {index['how']} ({index['changed']:,} changed)"
    )
    console().print(f"{memory['searches']:,} searches and {memory['events']:,} events counted")


def report(
    most: Annotated[int, typer.Option(help="Queries a list.")] = 20,
    least: Annotated[
        int, typer.Option(help="Searches from which a query without clicks counts as seldom clicked.")
    ] = 10,
    share: Annotated[float, typer.Option(help="Click-through below which it does.")] = 0.1,
    json: Json = False,
) -> None:
    """What people search for, what finds nothing or is seldom clicked, and proposals for a person to judge."""
    from services.db.session import make_engine, transaction  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.search.report import ReportConfig, search_report  # noqa: PLC0415 - as above

    settings = get_settings()
    engine = make_engine(resolve_addresses(settings).sqlalchemy_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            found = search_report(connection, datetime.now(UTC), ReportConfig(most=most, least=least, share=share))
    finally:
        engine.dispose()
    if json:
        print_json(found.as_dict())
        return
    totals = found.totals
    console().print(f"{totals['searches']:,} searches of {totals['queries']:,} queries")
    columns = ("query", "searches", "results", "click-through", "purchases", "mean position")
    print_table(columns, map(_row, found.frequent), title="Most frequent")
    for title, rows in (("Without results", found.without_results), ("Seldom clicked", found.seldom_clicked)):
        console().print()
        print_table(("query", "searches", "click-through", "proposals"), map(_disappointment, rows), title=title)


def _row(row: "QueryRow") -> tuple[object, ...]:
    position = "–" if row.mean_position is None else f"{row.mean_position:.1f}"
    return row.example, row.searches, f"{row.mean_results:.0f}", f"{row.click_through:.0%}", row.purchases, position


def _disappointment(found: "Disappointment") -> tuple[object, ...]:
    said = [f"{p.kind}: {p.word} = {p.text}" if p.word else f"{p.kind}: {p.text}" for p in found.proposals]
    return found.query.example, found.query.searches, f"{found.query.click_through:.0%}", "; ".join(said) or None


def _published(settings: Settings) -> tuple[str | None, float | None]:
    """The published index, here or in the storage that hosts share, and when it was published, epoch seconds."""
    from services.core.storage import ObjectStorage  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.features.stored_versions import stored_manifest  # noqa: PLC0415 - as above
    from services.search.index.search_index import current_index  # noqa: PLC0415 - as above
    from services.search.search_storage import INDEXES  # noqa: PLC0415 - as above

    if settings.storage_url is not None:
        manifest = stored_manifest(INDEXES, ObjectStorage(settings.storage_url))
        return (None, None) if manifest is None else (manifest.version, manifest.created)
    folder = current_index(HomePaths(settings.home).search)
    return (None, None) if folder is None else (folder.name, folder.stat().st_mtime)


def _status() -> dict[str, Any]:
    from services.db.checkpoints import SEARCH_INDEX, get_checkpoint  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.db.items import items_mark  # noqa: PLC0415 - as above
    from services.db.query_statistics import search_totals  # noqa: PLC0415 - as above
    from services.db.session import make_engine, transaction  # noqa: PLC0415 - as above

    settings = get_settings()
    index, created = _published(settings)
    engine = make_engine(resolve_addresses(settings).sqlalchemy_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            mark, totals = items_mark(connection), search_totals(connection)
            current = mark == get_checkpoint(connection, SEARCH_INDEX)
    finally:
        engine.dispose()
    return {
        "index": index,
        "age_s": None if created is None else time.time() - created,
        "current": index is not None and current,
        "items": mark["items"],
        "totals": totals,
    }
