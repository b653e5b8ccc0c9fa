"""Evaluation results as the machine-readable document and as Markdown."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from training.bootstrap import Interval, bootstrap_means
from training.evaluation import ModelResult
from training.splits import Split

COLUMNS = ("recall@10", "ndcg@10", "mrr@10", "recall@100", "recall@500", "coverage@10", "novelty@10", "popularity@10")


def document(split: Split, results: Sequence[ModelResult], source: str) -> dict[str, Any]:
    """The JSON answer of `portrait evaluate`: data, split and one entry a model (docs/evaluation.md)."""
    log = split.log
    return {
        "data": {
            "source": source,
            "users": log.user_count,
            "items": log.item_count,
            "events": len(log.user),
            "target_type": log.target_type,
            "evaluated_users": len(split.users),
        },
        "split": split.name,
        "models": [_entry(result) for result in results],
        "differences": [
            {"model": a, "than": b, "metrics": {name: _interval(value) for name, value in found.items()}}
            for a, b, found in differences(results)
        ],
    }


def _entry(result: ModelResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "seeds": result.seeds,
        "metrics": {name: _interval(value) for name, value in result.metrics.items()},
        "slices": {
            label: {name: _interval(value) for name, value in values.items()} for label, values in result.slices.items()
        },
        "fit_seconds": round(result.fit_seconds, 3),
        "seconds": round(result.seconds, 3),
        "peak_memory_mb": round(result.peak_memory_mb, 1),
    }


def differences(results: Sequence[ModelResult]) -> list[tuple[str, str, dict[str, Interval]]]:
    """(model, the one before it by NDCG@10, differences of their metrics), best first; by user, so that what makes a
    user easy or hard for both cancels out."""
    ranked = sorted(results, key=lambda result: -result.metrics["ndcg@10"].mean)
    found = []
    for better, worse in pairwise(ranked):
        gaps = {name: better.per_user[name] - worse.per_user[name] for name in ("recall@10", "ndcg@10")}
        found.append((better.name, worse.name, bootstrap_means(gaps)))
    return found


def _interval(value: Interval) -> dict[str, float | None]:
    """JSON has no NaN: a metric that is undefined is null."""
    parts = {"mean": value.mean, "low": value.low, "high": value.high}
    return {name: round(number, 6) if math.isfinite(number) else None for name, number in parts.items()}


def markdown(split: Split, results: Sequence[ModelResult], source: str) -> str:
    """The table of all models with 95% intervals, and the recall by slice."""
    log = split.log
    head = (
        f"`{source}`: {log.user_count:,} users, {log.item_count:,} items, {len(log.user):,} events; split "
        f"`{split.name}`, {len(split.users):,} users evaluated on their next {log.target_type}, all items ranked."
    )
    rows = [[result.name, *(_cell(result, name) for name in COLUMNS), f"{result.seconds:.1f}"] for result in results]
    table = _table(["model", *COLUMNS, "seconds"], rows)
    labels = list(results[0].slices) if results else []
    slices = [[r.name, *(f"{r.slices[label]['recall@10'].mean:.4f}" for label in labels)] for r in results]
    apart = [
        [f"{a} − {b}", *(f"{v.mean:+.4f} ({v.low:+.4f} to {v.high:+.4f})" for v in found.values())]
        for a, b, found in differences(results)
    ]
    parts = [head, table]
    if apart:
        parts += ["Each model and the next one, user by user:", _table(["difference", "recall@10", "ndcg@10"], apart)]
    parts += ["Recall@10 by slice:", _table(["model", *labels], slices)]
    return "\n\n".join(parts) + "\n"


def _cell(result: ModelResult, name: str) -> str:
    value = result.metrics.get(name)
    if value is None or not math.isfinite(value.mean):
        return "–"
    if value.low == value.high:
        return f"{value.mean:.4f}"
    return f"{value.mean:.4f} ({value.low:.4f}–{value.high:.4f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
