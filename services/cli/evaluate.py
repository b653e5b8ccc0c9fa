"""`portrait evaluate`: how well the models predict what users engage with next, on any data in the import formats."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.output import console, error_console
from services.core.errors import InvalidInput

if TYPE_CHECKING:
    from services.cli.offline_data import EvaluationData
    from training.recommender import Recommender
    from training.splits import Split

MODELS = ("popularity", "item-knn", "co-engagement", "last-item-content", "weighted-profile", "pipeline")
NEED_VECTORS = frozenset({"last-item-content", "weighted-profile"})
SPLITS = ("leave-one-out", "time")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    events: Annotated[
        Path | None, typer.Option(help="Events in an import format; the running stack's when absent.")
    ] = None,
    items: Annotated[Path | None, typer.Option(help="Catalogue in an import format.")] = None,
    format: Annotated[str, typer.Option(help="Format of the events: sequences, jsonl, …, or auto.")] = "auto",
    map: Annotated[list[str] | None, typer.Option("--map", help="OURS=THEIRS columns of the events.")] = None,
    event_type: Annotated[str | None, typer.Option(help="Type of events whose file has no types.")] = None,
    split: Annotated[str, typer.Option(help=" or ".join(SPLITS))] = "leave-one-out",
    part: Annotated[
        str, typer.Option(help="test (refitted), unrefitted, or validation: where settings are chosen.")
    ] = "test",
    models: Annotated[str, typer.Option(help="Comma-separated; all that the data allow when empty.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of models that have randomness.")] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="Write the machine-readable answer here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables here.")] = None,
) -> None:
    """Compare models on data split into past and future: every item is ranked, intervals are 95% over users."""
    import orjson  # noqa: PLC0415 - loaded when needed: --help stays quick

    from services.ingest.importers.base import ImportOptions  # noqa: PLC0415 - as above
    from services.ingest.importers.mapping import parse_mapping  # noqa: PLC0415 - as above
    from training import report  # noqa: PLC0415 - as above
    from training.evaluation import evaluate_all  # noqa: PLC0415 - as above

    wanted = _wanted(models)
    options = ImportOptions(mapping=parse_mapping(map or []), event_type=event_type)
    data = load(events, items, format, options, encode=any(name in NEED_VECTORS | {"pipeline"} for name in wanted))
    chosen = _split(data, split, part)
    factories = recommenders(data, [name for name in wanted if models or _possible(name, data)])
    results = evaluate_all(
        factories,
        chosen,
        seeds=seeds,
        vectors=data.vectors,
        progress=lambda name: error_console().print(f"{name} done"),
    )
    text = report.markdown(chosen, results, data.source)
    if json is not None:
        json.write_bytes(orjson.dumps(report.document(chosen, results, data.source), option=orjson.OPT_INDENT_2))
    if markdown is not None:
        markdown.write_text(text)
    console().print(text)


def load(events: Path | None, items: Path | None, format: str, options: Any, *, encode: bool) -> "EvaluationData":
    """The data of the files, or of the running stack when no events are named."""
    from services.cli.offline_data import read_data, stored_data  # noqa: PLC0415 - loaded when needed
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.session import make_engine  # noqa: PLC0415 - as above

    settings = get_settings()
    if events is not None:
        return read_data(events, items, settings, format=format, options=options, encode=encode)
    engine = make_engine(resolve_addresses(settings).sqlalchemy_url, pool_size=1)
    try:
        return stored_data(engine)
    finally:
        engine.dispose()


def recommenders(data: "EvaluationData", names: list[str]) -> list[Callable[[int], "Recommender"]]:
    """A factory (of a seed) for each model named."""
    from services.profiles.co_engagement import co_engagement_pairs  # noqa: PLC0415 - loaded when needed
    from services.profiles.reference import ReferenceStatistics  # noqa: PLC0415 - as above
    from training import baselines  # noqa: PLC0415 - as above
    from training.pipeline import PipelineRecommender  # noqa: PLC0415 - as above

    def pairs(events: Any, item_ids: Any) -> Any:
        return co_engagement_pairs([events], item_ids, ReferenceStatistics.defaults())

    made: dict[str, Callable[[int], Recommender]] = {
        "popularity": lambda seed: baselines.Popularity(),
        "item-knn": lambda seed: baselines.ItemNeighbours(),
        "co-engagement": lambda seed: baselines.CoEngagementRecommender(pairs),
        "last-item-content": lambda seed: baselines.last_item_content(_vectors(data)),
        "weighted-profile": lambda seed: baselines.weighted_profile(_vectors(data)),
        "pipeline": lambda seed: PipelineRecommender(lambda split: pipeline_inputs(data, split)),
    }
    return [made[name] for name in names]


def pipeline_inputs(data: "EvaluationData", split: "Split") -> Any:
    """The item snapshot and the portraits that the workers would have made at the end of the split's history."""
    import tempfile  # noqa: PLC0415 - loaded when needed

    import numpy as np  # noqa: PLC0415 - as above

    from services.cli import offline_inputs as offline  # noqa: PLC0415 - as above
    from training.pipeline import PipelineInputs  # noqa: PLC0415 - as above

    known, history = split.fit_events(), split.history_events()
    vectors = data.vectors if data.vectors is not None else np.zeros((data.items.num_rows, 0), np.float32)
    table = offline.vector_table(data.item_ids, vectors, data.space)
    as_of = offline.newest_time(history)
    reference = offline.offline_reference(known, data.items)
    with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
        snapshot = offline.offline_snapshot(known, data.items, table, reference, Path(folder), as_of)
        snapshot.warm()
    portraits = offline.offline_portraits(history, data.items, table, reference, as_of)
    return PipelineInputs(snapshot, portraits, as_of.timestamp())


def _wanted(models: str) -> list[str]:
    names = [name.strip() for name in models.split(",") if name.strip()] or list(MODELS)
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise InvalidInput(f"There is no model {unknown[0]!r}: --models takes {', '.join(MODELS)}")
    return names


def _possible(name: str, data: "EvaluationData") -> bool:
    return name not in NEED_VECTORS or data.vectors is not None


def _vectors(data: "EvaluationData") -> Any:
    if data.vectors is None:
        raise InvalidInput(
            "Content models need item texts: name a catalogue with --items, or leave them out of --models"
        )
    return data.vectors


def _split(data: "EvaluationData", name: str, part: str) -> "Split":
    from training.event_log import make_event_log  # noqa: PLC0415 - loaded when needed
    from training.splits import by_time, leave_one_out  # noqa: PLC0415 - as above

    if name not in SPLITS:
        raise InvalidInput(f"--split {name}: it is one of {', '.join(SPLITS)}")
    log = make_event_log(data.events, data.item_ids)
    pair = leave_one_out(log) if name == "leave-one-out" else by_time(log)
    parts = {"test": pair.test, "unrefitted": pair.test_unrefitted, "validation": pair.validation}
    if part not in parts:
        raise InvalidInput(f"--part {part}: it is one of {', '.join(parts)}")
    return parts[part]
