"""`portrait models`: what was trained, what serves, and how to change that without a restart."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from services.registry.registry import ModelRegistry

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Version = Annotated[str, typer.Argument(help="A version of `portrait models list`; `linear-blend` is always there.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Trained models: list, show, promote, roll back, try out.", no_args_is_help=True)
    for command in (list_models, show, promote, rollback, canary, shadow):
        group.command("list" if command is list_models else None)(command)
    app.add_typer(group, name="models")


def list_models(json: Json = False) -> None:
    """All versions, newest first, with what they reach on users held out of their training."""
    import msgspec  # noqa: PLC0415 - loaded when needed: --help stays quick

    registry = _registry()
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
            f"{manifest.metrics['recall@10'].mean:.4f}",
            f"{manifest.metrics['ndcg@10'].mean:.4f}",
            f"{manifest.gain.mean:.3f} ({manifest.gain.low:.3f}–{manifest.gain.high:.3f})",
            f"{manifest.data.events:,}",
        )
        for manifest in versions
    ]
    rows.append(("linear-blend", roles.get("linear-blend", ""), "", "", "", "1", ""))
    print_table(("version", "role", "trained (UTC)", "Recall@10", "NDCG@10", "over the blend", "events"), rows)


def show(version: Version, json: Json = False) -> None:
    """Everything a version says of itself."""
    import msgspec  # noqa: PLC0415 - loaded when needed: --help stays quick

    manifest = _registry().manifest(version)
    document = msgspec.to_builtins(manifest)
    if json:
        print_json(document)
        return
    data = document.pop("data")
    rows = [
        (name, value) for name, value in document.items() if name not in ("files", "metrics", "baseline", "features")
    ]
    rows += [(f"data {name}", value) for name, value in data.items()]
    rows += [
        (f"{name}, over the blend's {manifest.baseline[name].mean:.4f}", f"{m.mean:.4f} ({m.low:.4f}–{m.high:.4f})")
        for name, m in manifest.metrics.items()
    ]
    rows += [
        (f"file {name}", f"{entry.bytes:,} bytes, sha256 {entry.sha256[:16]}…")
        for name, entry in manifest.files.items()
    ]
    print_table(("", ""), [(name, str(value)) for name, value in rows])


def promote(
    version: Version, force: Annotated[bool, typer.Option(help="Whatever the quality gate says.")] = False
) -> None:
    """Let a version serve, if it is not worse than what serves. Gateways take it up within seconds."""
    verdict = _registry().promote(version, force=force)
    console().print(f"{version} serves: {verdict.reason}")


def rollback() -> None:
    """Let the version serve again that served before."""
    console().print(f"{_registry().rollback()} serves again")


def canary(
    version: Annotated[str | None, typer.Argument(help="The version to try; none ends the trial.")] = None,
    share: Annotated[float, typer.Option(help="Share of the users who get it.")] = 0.05,
) -> None:
    """Serve a version to a share of the users, always the same ones."""
    found = _registry().try_out(version, share)
    console().print(
        "no canary" if found.canary is None else f"{found.canary} answers {found.canary_share:.1%} of the users"
    )


def shadow(
    version: Annotated[str | None, typer.Argument(help="The version to compute; none ends it.")] = None,
    share: Annotated[float, typer.Option(help="Share of the requests for which it is computed.")] = 0.05,
) -> None:
    """Compute a version beside what serves, and show it to nobody: `portrait_shadow_overlap` tells how they differ."""
    found = _registry().try_out(version, share, shadow=True)
    console().print(
        "no shadow" if found.shadow is None else f"{found.shadow} is computed for {found.shadow_share:.1%} of requests"
    )


def _registry() -> "ModelRegistry":
    from services.core.paths import HomePaths  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.registry.storage import open_registry  # noqa: PLC0415 - as above

    settings = get_settings()
    return open_registry(HomePaths(settings.home).models, settings.storage_url)
