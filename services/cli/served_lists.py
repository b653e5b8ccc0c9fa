"""`portrait features export` and `replay`: the lists that were served, as a training set and as a test of itself."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import console, print_json

if TYPE_CHECKING:
    from services.features.served_lists import ListsManifest

DIFFERS = 3
"""Exit code of `replay` where a value is another one when it is computed again."""


def register(group: typer.Typer) -> None:
    """Add the commands to `portrait features`."""
    group.command()(export)
    group.command()(replay)


def export(
    days: Annotated[float, typer.Option(min=0, help="How far back.")] = 30.0,
    settle: Annotated[float, typer.Option(min=0, help="Hours that lists are given until they count.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Folder of data sets; under the home when absent.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Export the lists that were served, with Feast's point-in-time portraits and what came of them, to Arrow."""
    from services.core.paths import HomePaths  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above

    folder, manifest = _export(HomePaths(get_settings().home).datasets if out is None else out, days, settle)
    if json:
        print_json({"folder": str(folder), "digest": manifest.digest, "lists": manifest.lists})
    else:
        console().print(f"{manifest.lists:,} lists, {manifest.labelled:,} of which something came, in {folder}")


def replay(
    count: Annotated[int, typer.Option(min=1, help="At most so many lists, the newest.")] = 500,
    days: Annotated[float, typer.Option(min=0, help="How far back.")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make served lists again from Feast's history and compare value by value. Exit code 3 where something differs."""
    from services.core.paths import HomePaths  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.recommend.replay_lists import replay_lists  # noqa: PLC0415 - as above

    paths = HomePaths(get_settings().home)
    with tempfile.TemporaryDirectory(prefix="portrait-") as datasets:
        folder, _ = _export(Path(datasets), days, settle=0.0)
        report = replay_lists(folder, paths.snapshots, paths.models, count)
    if json:
        print_json(report.as_dict())
    else:
        console().print(f"{report.replayed:,} lists made again, {report.values:,} values compared")
        for why, number in report.skipped.items():
            console().print(f"{number:,} left out: {why}")
        for request_id, said in report.differences.items():
            console().print(f"{request_id}: {'; '.join(said)}")
    if report.differences:
        raise typer.Exit(DIFFERS)


def _export(datasets: Path, days: float, settle: float) -> tuple[Path, "ListsManifest"]:
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.clock import utc_now  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above

    addresses = resolve_addresses(get_settings())  # an absent stack is told at once, before seconds of imports
    from services.db.session import make_engine  # noqa: PLC0415 - as above
    from services.features.offline.export import export_lists  # noqa: PLC0415 - Feast takes seconds to import
    from services.features.offline.reader import OfflineReader  # noqa: PLC0415 - as above
    from services.features.served_lists import read_manifest  # noqa: PLC0415 - as above

    now = utc_now()
    engine = make_engine(addresses.sqlalchemy_url, pool_size=1)
    try:
        folder = export_lists(
            engine,
            OfflineReader(addresses),
            datasets,
            since=now - timedelta(days=days),
            until=now - timedelta(hours=settle),
            labelled_until=now,
        )
    finally:
        engine.dispose()
    return folder, read_manifest(folder)
