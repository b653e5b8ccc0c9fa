"""`portrait train`: a new version of the learned models, trained on the workers from everything that is stored."""

from typing import Annotated

import typer

from services.cli.output import console, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    config: Annotated[str, typer.Option(help="Named settings: default, small.")] = "default",
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    promote: Annotated[bool, typer.Option(help="Let the new version serve if it passes the quality gate.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train the learned models and publish them as a new version."""
    from services.cli.work import run_and_watch  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.core.types import JobKind  # noqa: PLC0415 - as above

    parameters = {"config": config, "seed": seed, "promote": promote}
    result = run_and_watch(resolve_addresses(get_settings()), JobKind.TRAIN, parameters)
    if json:
        print_json(result)
        return
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    console().print(f"{result['version']}: {metrics} in {result['seconds']:.0f} s ({result['epochs']} epochs)")
    console().print(f"NDCG@10 is {result['gain']:.3f} times that of the linear blend, on users held out of training")
    if "verdict" in result:
        console().print(f"{'it serves now' if result['promoted'] else 'not promoted'}: {result['verdict']}")
    else:
        console().print(f"let it serve with `portrait models promote {result['version']}`")
