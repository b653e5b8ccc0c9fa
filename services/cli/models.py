"""`portrait models`: what was trained, what serves, and how to change that without a restart."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from services.registry.manifest import Measured
    from services.registry.registry import ModelRegistry

SHOWN_FEATURES = 10
LISTED = ("recall@10", "ndcg@10")

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Search = Annotated[bool, typer.Option("--search", help="The rankers of search, instead of what recommends.")]
Version = Annotated[
    str, typer.Argument(help="Of `portrait models list`; `linear-blend`, of search `untrained`, is there.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Trained models: list, show, promote, roll back, try out.", no_args_is_help=True)
    for command in (list_models, show, promote, rollback, canary, shadow, compare):
        group.command("list" if command is list_models else None)(command)
    app.add_typer(group, name="models")


def list_models(search: Search = False, json: Json = False) -> None:
    """All versions, newest first, with what they reach on users held out of their training."""
    import msgspec  # noqa: PLC0415 - loaded when needed: --help stays quick

    registry = _registry(search)
    rollout, versions = registry.rollout(), registry.versions()
    if json:
        found = [msgspec.to_builtins(manifest) for manifest in versions]
        print_json({"rollout": msgspec.to_builtins(rollout), "models": found})
        return
    roles = {rollout.shadow: "shadow", rollout.canary: f"canary {rollout.canary_share:.0%}", rollout.champion: "serves"}
    rows = [
        (
            manifest.version,
            roles.get(manifest.version, ""),
            f"{datetime.fromtimestamp(manifest.created, UTC):%Y-%m-%d %H:%M}",
            *(f"{manifest.metrics[name].mean:.4f}" if name in manifest.metrics else "" for name in LISTED),
            f"{manifest.gain.mean:.3f} ({manifest.gain.low:.3f}–{manifest.gain.high:.3f})",
            f"{manifest.data.events:,}",
        )
        for manifest in versions
    ]
    rows.append((registry.baseline, roles.get(registry.baseline, ""), "", "", "", "1", ""))
    over = f"over {registry.baseline}"
    print_table(("version", "role", "trained (UTC)", "Recall@10", "NDCG@10", over, "events"), rows)


def show(version: Version, search: Search = False, json: Json = False) -> None:
    """Everything a version says of itself."""
    import msgspec  # noqa: PLC0415 - loaded when needed: --help stays quick

    manifest = _registry(search).manifest(version)
    document = msgspec.to_builtins(manifest)
    if json:
        print_json(document)
        return
    data = document.pop("data")
    rows = [
        (name, value)
        for name, value in document.items()
        if name not in ("files", "metrics", "baseline", "features", "importances", "encoders")
    ]
    rows += [(f"data {name}", value) for name, value in data.items()]
    for name, m in manifest.metrics.items():
        baseline = manifest.baseline.get(name)
        beside = "" if baseline is None else f", the baseline's being {baseline.mean:.4f}"
        rows.append((f"{name}{beside}", f"{m.mean:.4f} ({m.low:.4f}–{m.high:.4f})"))
    rows += [(f"encoder {name}", value) for name, value in manifest.encoders.items()]
    rows += [
        (f"importance {name}", f"{value:.3f}") for name, value in list(manifest.importances.items())[:SHOWN_FEATURES]
    ]
    rows += [
        (f"file {name}", f"{entry.bytes:,} bytes, sha256 {entry.sha256[:16]}…")
        for name, entry in manifest.files.items()
    ]
    print_table(("", ""), [(name, str(value)) for name, value in rows])


def promote(
    version: Version,
    search: Search = False,
    force: Annotated[bool, typer.Option(help="Whatever the quality gate says.")] = False,
) -> None:
    """Let a version serve, if it is not worse than what serves. Gateways take it up within seconds."""
    from services.core.paths import HomePaths  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.features.snapshot import current_snapshot  # noqa: PLC0415 - as above
    from services.features.snapshot_files import read_manifest  # noqa: PLC0415 - as above
    from services.features.transforms import FEATURES  # noqa: PLC0415 - as above
    from services.registry.registry import Needs  # noqa: PLC0415 - as above
    from services.search.features import FEATURES as SEARCH_FEATURES  # noqa: PLC0415 - as above

    folder = current_snapshot(HomePaths(get_settings().home).snapshots)
    needs = Needs(SEARCH_FEATURES if search else FEATURES, None if folder is None else read_manifest(folder).space)
    verdict = _registry(search).promote(version, force=force, needs=needs)
    console().print(f"{version} serves: {verdict.reason}")


def rollback(search: Search = False) -> None:
    """Let the version serve again that served before."""
    console().print(f"{_registry(search).rollback()} serves again")


def canary(
    version: Annotated[str | None, typer.Argument(help="The version to try; none ends the trial.")] = None,
    share: Annotated[float, typer.Option(help="Share of the users who get it.")] = 0.05,
    search: Search = False,
) -> None:
    """Serve a version to a share of the users, always the same ones."""
    found = _registry(search).try_out(version, share)
    console().print(
        "no canary" if found.canary is None else f"{found.canary} answers {found.canary_share:.1%} of the users"
    )


def shadow(
    version: Annotated[str | None, typer.Argument(help="The version to compute; none ends it.")] = None,
    share: Annotated[float, typer.Option(help="Share of the requests for which it is computed.")] = 0.05,
) -> None:
    """Compute a version beside what serves, and show it to nobody: `portrait_shadow_overlap` tells how they differ."""
    found = _registry(False).try_out(version, share, shadow=True)
    console().print(
        "no shadow" if found.shadow is None else f"{found.shadow} is computed for {found.shadow_share:.1%} of requests"
    )


def compare(
    hours: Annotated[float, typer.Option(min=0.01, help="Of the lists shown in the last so many hours.")] = 24.0,
    json: Json = False,
) -> None:
    """What users made of the lists of each model, canary beside champion; how a shadow's lists differ."""
    from dataclasses import asdict  # noqa: PLC0415 - loaded when needed: --help stays quick

    import msgspec  # noqa: PLC0415 - as above

    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.clock import utc_now  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.session import make_engine, transaction  # noqa: PLC0415 - as above
    from services.registry.traffic import traffic_by_model  # noqa: PLC0415 - as above

    settings = get_settings()
    addresses, now = resolve_addresses(settings), utc_now()
    engine = make_engine(addresses.sqlalchemy_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            found = traffic_by_model(connection, now - timedelta(hours=hours), now)
    finally:
        engine.dispose()
    overlap = shadow_overlap(addresses.http_url, min(settings.keys, default=""))
    if json:
        print_json({"models": [msgspec.to_builtins(asdict(each)) for each in found], "shadow": overlap})
        return
    rows = [(each.model, each.users, each.lists, _span(each.clicks), _span(each.purchases)) for each in found]
    print_table(("model", "users", "lists", "clicks a list", "purchases a list"), rows)
    if overlap:
        console().print(
            f"the shadow answered {overlap['requests']:.0f} requests again: its first ten items have "
            f"{overlap['overlap']:.0%} in common with what was shown"
        )


def _span(measured: "Measured") -> str:
    return f"{measured.mean:.3f} ({measured.low:.3f}–{measured.high:.3f})"


def shadow_overlap(http_url: str | None, key: str = "") -> dict[str, float]:
    """How many requests the shadow of the gateway that answers computed, and the mean share of items in common."""
    import httpx  # noqa: PLC0415 - loaded when needed: --help stays quick

    if not http_url:
        return {}
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        text = httpx.get(f"{http_url}/metrics", headers=headers, timeout=5).text
    except httpx.HTTPError:
        return {}
    values = dict(re.findall(r"^portrait_shadow_overlap_(sum|count) (\S+)", text, re.MULTILINE))
    count = float(values.get("count", 0))
    return {"requests": count, "overlap": float(values["sum"]) / count} if count else {}


def _registry(search: bool) -> "ModelRegistry":
    from services.core.paths import HomePaths  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.registry.storage import open_registry, open_search_registry  # noqa: PLC0415 - as above

    settings = get_settings()
    paths = HomePaths(settings.home)
    if search:
        return open_search_registry(paths, settings.storage_url)
    return open_registry(paths.models, settings.storage_url)
