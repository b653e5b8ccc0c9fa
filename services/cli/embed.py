"""`portrait embed`: vectors for what has none yet."""

from typing import Annotated

import typer

from services.cli.output import console, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(embed)


def embed(json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False) -> None:
    """Embed new and changed items on the workers (text, pictures, video) and refresh the item snapshot."""
    from services.cli.work import run_and_watch  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.core.types import JobKind  # noqa: PLC0415 - as above

    addresses = resolve_addresses(get_settings())
    result = {
        "embeddings": run_and_watch(addresses, JobKind.EMBEDDINGS),
        "snapshot": run_and_watch(addresses, JobKind.SNAPSHOT),
    }
    if json:
        print_json(result)
        return
    done = result["embeddings"]
    console().print(
        f"{done['items']:,} items looked at, {done['changed']:,} vectors changed in {done['seconds']:.1f} s; "
        f"encoded {done['encoded']}, without a modality {done['without']}"
    )
