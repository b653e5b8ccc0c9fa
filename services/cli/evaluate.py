"""`portrait evaluate`: how well the models predict what users engage with next, on any data in the import formats."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.evaluate_search import search
from services.cli.output import console, error_console

if TYPE_CHECKING:
    from services.profiles.shop_data import EvaluationData

COMPARE = "training.compare"
"""The module that does the work, loaded by name: services do not depend on training."""


def register(app: typer.Typer) -> None:
    """Add `evaluate` and `evaluate search`."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(evaluate)
    group.command("search")(search)
    app.add_typer(group, name="evaluate")


def evaluate(
    context: typer.Context,
    events: Annotated[
        Path | None, typer.Option(help="Events in an import format; the running stack's when absent.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="Catalogue in an import format.")] = None,
    format: Annotated[str, typer.Option(help="Format of the events: sequences, jsonl, …, or auto.")] = "auto",
    map: Annotated[list[str] | None, typer.Option("--map", help="OURS=THEIRS columns of the events.")] = None,
    event_type: Annotated[str | None, typer.Option(help="Type of events whose file has no types.")] = None,
    split: Annotated[str, typer.Option(help="leave-one-out or time.")] = "leave-one-out",
    part: Annotated[
        str, typer.Option(help="test (refitted), unrefitted, or validation: where settings are chosen.")
    ] = "test",
    target: Annotated[
        str, typer.Option(help="Event types to predict; purchases, or the strongest there is, when empty.")
    ] = "",
    models: Annotated[str, typer.Option(help="Comma-separated; all that the data allow when empty.")] = "",
    lists: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: lists made elsewhere (user_id, item_id, rank) to measure too."),
    ] = None,
    config: Annotated[str, typer.Option(help="Settings of the learned models: default, small.")] = "default",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of models that have randomness.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 0,
    cold_items: Annotated[
        float, typer.Option(help="Take this share of the items out of everything known, and ask for them alone.")
    ] = 0.0,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Keep user models and lists here: runs that were cut off go on, runs of single seeds join."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the machine-readable answer here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots here.")] = None,
) -> None:
    """Compare models on data split into past and future: every item is ranked, intervals are 95% over users."""
    if context.invoked_subcommand is not None:
        return
    import importlib  # noqa: PLC0415 - loaded when needed: --help stays quick

    import orjson  # noqa: PLC0415 - as above

    compare = importlib.import_module(COMPARE)
    wanted = compare.wanted_models(models)
    encode = any(name in compare.CONTENT_MODELS or name in compare.WITH_CONTENT for name in wanted)
    data = load(events, items, format=format, mapping=map or [], event_type=event_type, encode=encode)
    result = compare.compare(
        compare.ShopData(data.source, data.events, data.item_ids, data.vectors, data.items),
        builders(data, compare.Builders),
        models=models,
        split=split,
        part=part,
        target=target,
        cold_items=cold_items,
        lists={name: Path(path) for name, _, path in (text.partition("=") for text in lists or [])},
        seeds=seeds,
        first_seed=first_seed,
        config=config,
        checkpoints=checkpoints,
        tell=_tell,
        progress=lambda name: error_console().print(f"{name} measured"),
    )
    if json is not None:
        json.write_bytes(orjson.dumps(result.document, option=orjson.OPT_INDENT_2))
    if markdown is not None:
        markdown.write_text(result.markdown, encoding="utf-8")
    if html is not None:
        html.write_text(result.html, encoding="utf-8")
    console().print(result.markdown)


def _tell(figures: dict[str, float]) -> None:
    """One line an epoch."""
    parts = [f"epoch {figures['epoch']:.0f}", f"loss {figures['loss']:.3f}", f"{figures['seconds']:.0f} s"]
    if "validation" in figures:
        parts.append(f"held out {figures['validation']:.4f}")
    error_console().print("  " + ", ".join(parts))


def load(
    events: Path | None, items: Path | None, *, format: str, mapping: list[str], event_type: str | None, encode: bool
) -> "EvaluationData":
    """The data of the files, or of the running stack when no events are named."""
    from services.cli.offline_data import read_data  # noqa: PLC0415 - loaded when needed
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.session import make_engine  # noqa: PLC0415 - as above
    from services.ingest.importers.base import ImportOptions  # noqa: PLC0415 - as above
    from services.ingest.importers.mapping import parse_mapping  # noqa: PLC0415 - as above
    from services.profiles.shop_data import stored_data  # noqa: PLC0415 - as above

    settings = get_settings()
    if events is not None:
        options = ImportOptions(mapping=parse_mapping(mapping), event_type=event_type)
        return read_data(events, items, settings, format=format, options=options, encode=encode)
    engine = make_engine(resolve_addresses(settings).sqlalchemy_url, pool_size=1)
    try:
        return stored_data(engine)
    finally:
        engine.dispose()


def builders(data: "EvaluationData", make: Any) -> Any:
    """`training.compare.Builders` (the class is `make`) that compute what the workers would."""
    from services.profiles.co_engagement import co_engagement_pairs  # noqa: PLC0415 - as above
    from services.profiles.offline import offline_serving  # noqa: PLC0415 - loaded when needed
    from services.profiles.reference import ReferenceStatistics  # noqa: PLC0415 - as above

    reference = ReferenceStatistics.defaults()
    return make(
        pairs=lambda events, item_ids: co_engagement_pairs([events], item_ids, reference),
        serving=lambda known, history: offline_serving(known, history, data.items, data.vector_table()),
    )
