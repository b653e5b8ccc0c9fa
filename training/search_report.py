"""Search results as the machine-readable document, as Markdown and as a page."""

import html as escape
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from training.bootstrap import Interval, bootstrap_means
from training.html_report import STYLE
from training.search_evaluation import NDCG, SHARE, JudgedLists, SearchProtocol, SearchResult, measured_queries

COLUMNS = (NDCG, SHARE, "ndcg@5", "mrr")


def search_document(
    lists: JudgedLists, protocol: SearchProtocol, results: Sequence[SearchResult], compared: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON answer of `portrait evaluate search` (docs/evaluation.md)."""
    judged = lists.judgements
    return {
        "data": {
            "source": judged.source,
            "queries": len(judged.queries),
            "items": len(judged.items),
            "judgements": len(judged.grade),
            "evaluated_queries": len(measured_queries(judged, protocol)),
            "least_judged": protocol.least_judged,
        },
        "split": f"by query, {protocol.folds} folds, seed {protocol.seed}",
        "models": [
            {
                "name": result.name,
                "seeds": result.seeds,
                "metrics": {name: interval_of(value) for name, value in result.metrics.items()},
                "slices": {
                    label: {name: interval_of(value) for name, value in values.items()}
                    for label, values in result.slices.items()
                },
                "seconds": round(result.seconds, 3),
            }
            for result in results
        ],
        "compared": compared,
    }


def search_markdown(
    lists: JudgedLists, protocol: SearchProtocol, results: Sequence[SearchResult], compared: Mapping[str, Any]
) -> str:
    """Tables of the models, the slices, and the queries most won and lost."""
    parts = [_head(lists, protocol), markdown_table(*_figures(results)), f"{NDCG} by slice:"]
    parts += [markdown_table(*_slices(results))]
    if len(results) > 1:
        parts += ["Differences of NDCG@10, query by query:", markdown_table(*_gaps(results))]
    for name, rows in compared.items():
        if rows:
            header = list(rows[0])
            parts += [
                f"{name.capitalize()}:",
                markdown_table(header, [[_text(row[c]) for c in header] for row in rows]),
            ]
    return "\n\n".join(parts) + "\n"


def search_html(
    lists: JudgedLists, protocol: SearchProtocol, results: Sequence[SearchResult], compared: Mapping[str, Any]
) -> str:
    """A page of its own with the same tables."""
    tables = [("Rankers", *_figures(results)), (f"{NDCG} by slice", *_slices(results))]
    if len(results) > 1:
        tables.append(("Differences, query by query", *_gaps(results)))
    for name, rows in compared.items():
        if rows:
            tables.append((name.capitalize(), list(rows[0]), [[_text(v) for v in row.values()] for row in rows]))
    body = "".join(f"<h2>{escape.escape(title)}</h2>{_html_table(header, rows)}" for title, header, rows in tables)
    title = f"<meta charset=utf-8><title>Search on {escape.escape(lists.judgements.source)}</title>"
    head = escape.escape(_head(lists, protocol).replace("`", ""))
    start = f"<!doctype html><html lang=en>{title}<style>{STYLE}</style>"
    return f"{start}<body><h1>Search, compared</h1><p>{head}</p>{body}</body></html>"


def _head(lists: JudgedLists, protocol: SearchProtocol) -> str:
    judged = lists.judgements
    return (
        f"`{judged.source}`: {len(judged.grade):,} judgements of {len(judged.items):,} products for "
        f"{len(judged.queries):,} queries; {len(measured_queries(judged, protocol)):,} queries with at least "
        f"{protocol.least_judged} judged products are measured, their judged products re-ranked. Trained rankers: "
        f"split by query, {protocol.folds} folds. Brackets are 95% intervals over queries; `{SHARE}` is the share of "
        "the way from a random order to the perfect one."
    )


def _figures(results: Sequence[SearchResult]) -> tuple[list[str], list[list[str]]]:
    rows = [[r.name, *(_cell(r.metrics[name]) for name in COLUMNS), f"{r.seconds:.1f}"] for r in results]
    return ["ranker", *COLUMNS, "seconds"], rows


def _slices(results: Sequence[SearchResult]) -> tuple[list[str], list[list[str]]]:
    labels = list(results[0].slices) if results else []
    return ["ranker", *labels], [[r.name, *(_cell(r.slices[label][NDCG]) for label in labels)] for r in results]


def _gaps(results: Sequence[SearchResult]) -> tuple[list[str], list[list[str]]]:
    ranked = sorted(results, key=lambda result: -result.metrics[NDCG].mean)
    rows = []
    for better, worse in pairwise(ranked):
        gap = better.per_query[NDCG] - worse.per_query[NDCG]
        value = bootstrap_means({NDCG: gap})[NDCG]
        won, lost = int((gap > 1e-9).sum()), int((gap < -1e-9).sum())
        interval = f"{value.mean:+.4f} ({value.low:+.4f} to {value.high:+.4f})"
        rows.append([f"{better.name} − {worse.name}", interval, str(won), str(lost)])
    return ["difference", NDCG, "queries won", "queries lost"], rows


def interval_of(value: Interval) -> dict[str, float | None]:
    """As JSON; what is not defined is null."""
    parts = {"mean": value.mean, "low": value.low, "high": value.high}
    return {name: round(number, 6) if math.isfinite(number) else None for name, number in parts.items()}


def _cell(value: Interval) -> str:
    return f"{value.mean:.4f} ({value.low:.4f}–{value.high:.4f})" if math.isfinite(value.mean) else "–"


def _text(value: object) -> str:
    return str(value).replace("|", "\\|")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape.escape(cell)}</th>" for cell in header)]
    lines += ["".join(f"<td>{escape.escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
