"""Evaluation results as one HTML page without scripts or outside files: bars with intervals, slices, figures."""

import html as escape
import math
from collections.abc import Sequence

from training.bootstrap import Interval
from training.evaluation import ModelResult
from training.report import differences
from training.splits import Split

PLOTTED = ("recall@10", "ndcg@10", "recall@100", "recall@500")
FIGURES = (
    *(f"recall@{k}" for k in (1, 5, 10, 20, 50, 100, 500)),
    *(f"{name}@10" for name in ("ndcg", "mrr", "map", "coverage", "diversity", "novelty", "popularity")),
)
WIDTH, ROW, LABEL = 640, 26, 170
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1d2733}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.25rem .7rem;border-bottom:1px solid #dde3ea;text-align:right}
td:first-child,th:first-child{text-align:left}
svg{max-width:100%;height:auto}h2{margin-top:2.5rem}.note{color:#5a6877}"""


def html(split: Split, results: Sequence[ModelResult], source: str) -> str:
    """The page: what was measured, a plot for each of the main metrics, differences, slices, all figures."""
    log = split.log
    head = (
        f"<b>{_text(source)}</b>: {log.user_count:,} users, {log.item_count:,} items, {len(log.user):,} events. "
        f"Split {_text(split.name)}: {len(split.users):,} users are asked for their next {_text(log.target_type)}, "
        "all items ranked. Whiskers and brackets are 95% intervals over users."
    )
    plots = "".join(f"<h2>{name}</h2>{_bars(results, name)}" for name in PLOTTED)
    gaps = [
        [f"{a} − {b}", *(f"{v.mean:+.4f} ({v.low:+.4f} to {v.high:+.4f})" for v in found.values())]
        for a, b, found in differences(results)
    ]
    labels = list(results[0].slices) if results else []
    slices = [[r.name, *(_cell(r.slices[label]["recall@10"]) for label in labels)] for r in results]
    figures = []
    for r in results:
        cells = [_cell(r.metrics.get(name)) for name in FIGURES]
        figures.append([r.name, *cells, f"{r.seconds:,.0f}", f"{r.peak_memory_mb:,.0f}"])
    parts = (
        f"<h1>Recommendations, compared</h1><p>{head}</p>{plots}",
        "<h2>Each model and the next one</h2><p class=note>Differences are taken user by user.</p>",
        _table(["", "recall@10", "ndcg@10"], gaps),
        "<h2>Recall@10 by slice</h2>",
        _table(["", *labels], slices),
        "<h2>All figures</h2>",
        _table(["", *FIGURES, "seconds", "peak MiB"], figures),
    )
    title = f"<meta charset=utf-8><title>Evaluation of {_text(source)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en>{title}<body>{''.join(parts)}</body></html>"


def _bars(results: Sequence[ModelResult], metric: str) -> str:
    """Horizontal bars, one a model, with their intervals."""
    shown = [
        (r.name, r.metrics[metric]) for r in results if metric in r.metrics and math.isfinite(r.metrics[metric].mean)
    ]
    if not shown:
        return ""
    most = max(value.high for _, value in shown) or 1.0
    scale = (WIDTH - LABEL - 90) / most
    rows = []
    for place, (name, value) in enumerate(shown):
        y = place * ROW
        left, low, high = LABEL + value.mean * scale, LABEL + value.low * scale, LABEL + value.high * scale
        rows.append(
            f'<text x="{LABEL - 8}" y="{y + 17}" text-anchor="end">{_text(name)}</text>'
            f'<rect x="{LABEL}" y="{y + 4}" width="{value.mean * scale:.1f}" height="{ROW - 9}" fill="#4f7cac"/>'
            f'<path d="M{low:.1f} {y + 12}H{high:.1f}" stroke="#16324f" stroke-width="2"/>'
            f'<text x="{max(left, high) + 6:.1f}" y="{y + 17}">{value.mean:.4f}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {ROW * len(shown)}" width="{WIDTH}" role="img" aria-label="{metric}" '
        f'font-size="13" fill="#1d2733">{"".join(rows)}</svg>'
    )


def _cell(value: Interval | None) -> str:
    if value is None or not math.isfinite(value.mean):
        return "–"
    return f"{value.mean:.4f}" if value.low == value.high else f"{value.mean:.4f} ({value.low:.4f}–{value.high:.4f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{_text(cell)}</th>" for cell in header)]
    lines += ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _text(value: str) -> str:
    return escape.escape(value)
