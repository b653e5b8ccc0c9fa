"""`portrait features`: bring the registry to the definitions, rebuild the online store, check both."""

import json as json_module
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import served_lists
from services.cli.output import console, human_seconds, print_json, print_table
from services.core.errors import ConfigurationError

if TYPE_CHECKING:
    from services.core.addresses import Addresses
    from services.features.check import ViewCheck

UNSOUND = 3
"""Exit code of `check` where something is wrong."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The feature store: definitions, online store, soundness.", no_args_is_help=True)
    group.command()(apply)
    group.command()(materialize)
    group.command()(check)
    served_lists.register(group)
    app.add_typer(group, name="features")


def apply(json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.")] = False) -> None:
    """Apply the definitions in feature_repo/ to the registry, as `feast apply` does."""
    _addresses()  # an absent stack is told at once, before seconds of imports
    changes = _registry("apply")
    if json:
        print_json({"changes": changes})
    elif changes:
        print_table(("action", "kind", "name"), [(c["action"], c["kind"], c["name"]) for c in changes])
    else:
        console().print("No changes: the registry matches feature_repo/")


def materialize(
    everything: Annotated[
        bool, typer.Option("--all", help="Every entity, rather than what is new since the last time.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print rows and seconds by view as JSON.")] = False,
) -> None:
    """Bring the newest features online; with --all an empty online store is rebuilt from PostgreSQL."""
    from rich.progress import Progress  # noqa: PLC0415 - loaded when needed: --help stays quick

    from services.cli.output import error_console  # noqa: PLC0415 - as above

    addresses = _addresses()  # an absent stack is told at once, before seconds of imports
    from services.features.materialize import materialize as run  # noqa: PLC0415 - as above
    from services.features.offline.reader import OfflineReader  # noqa: PLC0415 - Feast takes seconds to import
    from services.features.online import OnlineWriter, open_store  # noqa: PLC0415 - as above

    store = open_store(addresses)
    with Progress(console=error_console(), transient=True) as bar:
        task = bar.add_task("Materialising", total=1.0)
        report = run(
            OfflineReader(addresses, store),
            OnlineWriter(addresses, store),
            everything=everything,
            progress=lambda share: bar.update(task, completed=share),
        ).as_dict()
    if json:
        print_json(report)
        return
    print_table(("view", "rows", "seconds"), [(v, n, report["seconds"][v]) for v, n in report["rows"].items()])
    console().print(
        f"{report['total_rows']:,} rows in {report['total_seconds']:.1f} s, {report['rows_per_second']:,} a second"
    )


def check(json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Compare registry, definitions, tables and online store. Exit code 3 where something is wrong."""
    addresses = _addresses()  # an absent stack is told at once, before seconds of imports
    from services.core.clock import utc_now  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.features.check import check_views  # noqa: PLC0415 - as above
    from services.features.offline.reader import OfflineReader  # noqa: PLC0415 - Feast takes seconds to import
    from services.features.online import OnlineReader, open_store  # noqa: PLC0415 - as above

    pending = _registry("plan")
    store = open_store(addresses)
    views = check_views(OfflineReader(addresses, store), OnlineReader(addresses, store), now=utc_now())
    sound = not pending and all(view.problem is None for view in views)
    if json:
        print_json({"sound": sound, "pending": pending, "views": [view.as_dict() for view in views]})
    else:
        _print_check(pending, views)
    if not sound:
        raise typer.Exit(UNSOUND)


def _print_check(pending: list[dict[str, str]], views: "list[ViewCheck]") -> None:
    rows = [
        (
            view.view,
            view.rows,
            view.entities,
            "–" if view.age_s is None else human_seconds(max(view.age_s, 0)),
            f"{view.agreeing}/{view.sampled}" if view.online else "not kept online",
            view.problem or "sound",
        )
        for view in views
    ]
    print_table(("view", "rows", "entities", "newest is old", "online agrees", "finding"), rows)
    if pending:
        named = ", ".join(f"{change['action']} {change['name']}" for change in pending)
        console().print(f"The registry is behind feature_repo/ ({named}): run `portrait features apply`")
    else:
        console().print("The registry matches feature_repo/")


def _addresses() -> "Addresses":
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above

    return resolve_addresses(get_settings())


def _registry(action: str) -> list[dict[str, str]]:
    """Run `feature_repo.registry_sync` in a process of its own: definitions are read afresh, as `feast` reads them.

    Raises:
        ConfigurationError: it failed; the sentence is the child's.
    """
    command = [sys.executable, "-m", "feature_repo.registry_sync", action]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json_module.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        lines = done.stderr.strip().splitlines()
        raise ConfigurationError(
            f"The definitions in feature_repo/ cannot be applied: {lines[-1] if lines else 'no message'}"
        ) from error
    if "error" in answer:
        raise ConfigurationError(answer["error"])
    return answer["changes"]
