"""`portrait evaluate search`: search rankers on judgements of query and product."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.evaluate_cross import cross_encoder_result
from services.cli.output import console, error_console
from services.cli.search_retrieval import RETRIEVAL, evaluate_retrieval

EVALUATION, JUDGEMENTS, REPORT = "training.search_evaluation", "training.search_judgements", "training.search_report"
MISSPELLING = "training.misspelling"
"""The modules that do the work, loaded by name: services do not depend on training."""
CROSS_ENCODER = "cross-encoder"


def search(
    judgements: Annotated[Path, typer.Option(help="CSV, TSV or JSON lines, plain, gzipped or zipped.")],
    map: Annotated[
        list[str] | None,
        typer.Option("--map", help="OURS=THEIRS: query, item_id, grade, title, description, brand, categories."),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the file; UTF-8, else Latin-1, when absent.")] = None,
    models: Annotated[
        str, typer.Option(help="Comma-separated: bm25, dense, fusion, untrained, trained, cross-encoder.")
    ] = "bm25,dense,fusion,untrained,trained",
    least_judged: Annotated[int, typer.Option(min=2, help="Judged products of a query that is measured.")] = 10,
    folds: Annotated[int, typer.Option(min=2, help="Parts the queries are split into for trained rankers.")] = 5,
    split_seed: Annotated[int, typer.Option(help="Of the split into folds.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of what is trained.")] = 1,
    misspelt: Annotated[
        bool, typer.Option("--misspelt", help="Also ask queries of five letters or more with one random edit.")
    ] = False,
    correct: Annotated[bool, typer.Option(help="Correct spelling, as search does.")] = True,
    retrieval: Annotated[
        bool, typer.Option("--retrieval", help="Search the whole catalogue instead: recall of the good products.")
    ] = False,
    good: Annotated[float, typer.Option(help="Of --retrieval: the grade from which a product is good.")] = 2.5,
    queries: Annotated[int | None, typer.Option(min=1, help="Of --retrieval: so many, drawn at random.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Of --retrieval: leave out the first so many that are drawn.")] = 0,
    json: Annotated[Path | None, typer.Option("--json", help="Write the machine-readable answer here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here.")] = None,
) -> None:
    """Re-rank each query's judged products with every ranker, or retrieve them; intervals are 95% over queries."""
    import orjson  # noqa: PLC0415 - loaded when needed: --help stays quick

    evaluation = importlib.import_module(EVALUATION)
    report = importlib.import_module(REPORT)
    wanted = wanted_models(models)
    judged = importlib.import_module(JUDGEMENTS).read_judgements(judgements, mapping_of(map or []), encoding)
    if retrieval:
        found = importlib.import_module(RETRIEVAL)
        asked_for = found.RetrievalProtocol(good, queries, skip, split_seed)
        made_of = (judged, asked_for, evaluate_retrieval(judged, asked_for, correct=correct))
        if json is not None:
            json.write_bytes(orjson.dumps(found.retrieval_document(*made_of), option=orjson.OPT_INDENT_2))
        _print(found.retrieval_markdown(*made_of), markdown)
        return
    protocol = evaluation.SearchProtocol(least_judged, folds, split_seed)
    asked = [judged.queries]
    if misspelt:
        asked.append(importlib.import_module(MISSPELLING).misspelt(judged.queries))
    made = judged_lists(judged, evaluation, asked, correct=correct, encode=wanted != ["bm25"])
    results = []
    for name in wanted:
        names = (name, f"{name}, misspelt")[: len(made)]
        if name == "trained":
            lists = [each for each, _ in made]
            results += evaluation.evaluate_trained_on(names, lists, protocol, seeds=seeds)
        elif name == CROSS_ENCODER:
            results.append(cross_encoder_result(name, made[0][0], protocol))
        else:
            results += [
                evaluation.evaluate_scores(label, lambda found=scores[name]: found, lists, protocol)
                for label, (lists, scores) in zip(names, made, strict=True)
            ]
        error_console().print(f"{name} measured")
    compared = comparison(results[:: len(made)], judged, protocol, evaluation)
    parts = (made[0][0], protocol, results, compared)
    text = report.search_markdown(*parts)
    if json is not None:
        json.write_bytes(orjson.dumps(report.search_document(*parts), option=orjson.OPT_INDENT_2))
    if html is not None:
        html.write_text(report.search_html(*parts), encoding="utf-8")
    _print(text, markdown)


def _print(text: str, markdown: Path | None) -> None:
    if markdown is not None:
        markdown.write_text(text, encoding="utf-8")
    console().print(text)


def wanted_models(names: str) -> list[str]:
    """The rankers of a comma-separated list.

    Raises:
        InvalidInput: there is no such ranker.
    """
    from services.core.errors import InvalidInput  # noqa: PLC0415 - loaded when needed

    known = ("bm25", "dense", "fusion", "untrained", "trained", CROSS_ENCODER)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InvalidInput(f"There is no ranker {(unknown or [''])[0]!r}: --models takes {', '.join(known)}")
    return wanted


def mapping_of(pairs: list[str]) -> dict[str, str]:
    """From ["query=search,grade=stars"].

    Raises:
        InvalidInput: not OURS=THEIRS.
    """
    from services.core.errors import InvalidInput  # noqa: PLC0415 - loaded when needed

    found = {}
    for pair in (part for text in pairs for part in text.split(",")):
        ours, equals, theirs = pair.partition("=")
        if not equals or not theirs:
            raise InvalidInput(f"--map {pair}: write OURS=THEIRS")
        found[ours.strip()] = theirs.strip()
    return found


def judged_lists(
    judged: Any, evaluation: Any, asked: Sequence[Sequence[str]], *, correct: bool, encode: bool
) -> list[tuple[Any, dict[str, Any]]]:
    """For each way to ask all queries (`training.search_evaluation.JudgedLists`, scores of the rankers that need no
    training by name)."""
    from services.cli.search_data import result_lists, search_shop  # noqa: PLC0415 - loaded when needed
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.search.features import FEATURES  # noqa: PLC0415 - as above
    from services.search.judged import list_features  # noqa: PLC0415 - as above
    from services.search.ranker import untrained_vector  # noqa: PLC0415 - as above

    settings = get_settings()
    shop = search_shop(judged, settings, encode=encode)
    now = shop.pipeline.snapshot.created
    found = []
    for queries in asked:
        lists = result_lists(judged, shop, settings, queries, correct=correct)
        made = list_features(shop.pipeline, shop.terms, lists, now, correct=correct)
        scores = {
            "bm25": made.lexical,
            "dense": made.dense,
            "fusion": made.fused,
            "untrained": made.features @ untrained_vector(),
        }
        found.append((evaluation.JudgedLists(judged, made.features, FEATURES, made.corrected, made.searched), scores))
    return found


def comparison(results: list[Any], judged: Any, protocol: Any, evaluation: Any) -> dict[str, Any]:
    """The queries that the last ranker wins and loses most on against the first."""
    if len(results) < 2:
        return {}
    measured = evaluation.measured_queries(judged, protocol)
    queries = [judged.queries[at] for at in measured.tolist()]
    return dict(evaluation.wins_and_losses(results[-1], results[0], queries))
