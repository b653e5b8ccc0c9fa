"""`portrait train`: a new version of the learned models, trained on the workers from everything that is stored."""

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.output import console, print_json
from services.core.errors import InvalidInput

SEARCH_RANKER = "search-ranker"
KINDS = ("models", SEARCH_RANKER, "text-encoder")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    config: Annotated[str, typer.Option(help="Named settings: default, small.")] = "default",
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    what: Annotated[
        str,
        typer.Option(
            help="models: user model and ranker; search-ranker: from clicks or judgements; "
            "text-encoder: adapt it to the shop (LoRA)."
        ),
    ] = "models",
    judgements: Annotated[
        Path | None, typer.Option(help="Of search-ranker: learn from this file of graded products instead of clicks.")
    ] = None,
    cross_encoder: Annotated[
        bool,
        typer.Option(help="Of search-ranker: also teach a cross-encoder, which re-ranks the first 20 results."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train the user model together (Ray).")] = 1,
    promote: Annotated[bool, typer.Option(help="Let the new version serve if it passes the quality gate.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train the learned models and publish them as a new version."""
    from services.cli.work import run_and_watch  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.core.types import JobKind  # noqa: PLC0415 - as above

    if what not in KINDS:
        raise InvalidInput(f"--what {what}: it is {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    parameters: dict[str, Any] = {"what": what, "config": config, "seed": seed, "promote": promote, "workers": workers}
    if judgements is not None:
        if what != SEARCH_RANKER or not judgements.is_file():
            raise InvalidInput(f"--judgements {judgements}: a file of graded products, for --what {SEARCH_RANKER}")
        parameters["judgements"] = str(judgements.resolve())
    if cross_encoder:
        if what != SEARCH_RANKER:
            raise InvalidInput(f"--cross-encoder goes with --what {SEARCH_RANKER}")
        parameters["cross_encoder"] = True
    result = run_and_watch(resolve_addresses(get_settings()), JobKind.TRAIN, parameters, label=f"train {what}")
    if json:
        print_json(result)
    elif what == "text-encoder":
        _print_adapter(result)
    else:
        _print_version(result, search=what == SEARCH_RANKER)


def _print_adapter(result: dict[str, Any]) -> None:
    pairs = ", ".join(f"{count:,} {kind}" for kind, count in result["pairs"].items())
    console().print(f"recall@10 of unseen items: {result['before']:.4f} before, {result['after']:.4f} after")
    console().print(f"learned from {pairs} in {result['epochs']} epochs")
    if result["after"] > result["before"]:
        console().print(f"use it with PORTRAIT_TEXT_ENCODER={result['folder']}: all items are embedded anew")
    else:
        console().print("it is no better than its base: leave PORTRAIT_TEXT_ENCODER as it is")


def _print_version(result: dict[str, Any], *, search: bool) -> None:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    console().print(f"{result['version']}: {metrics} in {result['seconds']:.0f} s ({result['epochs']} epochs)")
    measured = "the untrained ranker, on queries" if search else "the linear blend, on users"
    console().print(f"NDCG@10 is {result['gain']:.3f} times that of {measured} held out of training")
    if "verdict" in result:
        console().print(f"{'it serves now' if result['promoted'] else 'not promoted'}: {result['verdict']}")
    else:
        option = " --search" if search else ""
        console().print(f"let it serve with `portrait models promote {result['version']}{option}`")
