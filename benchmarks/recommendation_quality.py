"""How well the serving pipeline predicts what a user takes next, beside popularity, item-kNN and content.

Amazon Beauty 2014 (leave-one-out, every item ranked, refitted) where PORTRAIT_TEST_DATA names its folder, the next
click in a simulated shop otherwise. The claim: the pipeline's Recall@10 is above item-kNN's beyond both intervals.
Run: `python -m benchmarks.recommendation_quality [--json OUT]`.
"""

import argparse
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.cli.evaluate import builders
from services.cli.offline_data import read_data
from services.core.settings import get_settings
from services.ingest.importers.base import ImportOptions
from services.profiles.shop_data import EvaluationData
from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop
from training.compare import BASELINES, Builders, Comparison, ShopData, compare

BAR = 1.0
"""Of the pipeline's Recall@10 over item-kNN's."""

SHOP = ShopConfig(end=datetime(2026, 11, 1, tzinfo=UTC), users=2_500, items=2_000, seed=3)


def run() -> dict[str, Any]:
    """Recall@10 and NDCG@10 of every model with 95% intervals."""
    data, target = _data()
    shop = ShopData(data.source, data.events, data.item_ids, data.vectors)
    return _answer(compare(shop, builders(data, Builders), models=",".join(BASELINES), target=target), data.source)


def _data() -> tuple[EvaluationData, str]:
    """The shop, and the event type to predict."""
    named = os.environ.get("PORTRAIT_TEST_DATA")
    folder = Path(named or ".") / "amazon-beauty-2014"
    if named and folder.is_dir():
        files = folder / "user_sequence.txt.gz", folder / "items.tsv.gz"
        return read_data(*files, get_settings(), format="sequences", options=ImportOptions(), encode=True), "purchase"
    with tempfile.TemporaryDirectory(prefix="pt-") as made:
        written = SimulatedShop(SHOP).write(Path(made))
        options = ImportOptions()
        data = read_data(written.events, written.items, get_settings(), format="auto", options=options, encode=True)
    return data, "click"


def _answer(comparison: Comparison, source: str) -> dict[str, Any]:
    print(comparison.markdown)
    reached = {result.name: result.metrics["recall@10"] for result in comparison.results}
    pipeline, neighbours = reached["linear-blend"], reached["item-knn"]
    figure = pipeline.mean / neighbours.mean
    return {
        "name": "recommendation_quality",
        "figure": round(figure, 3),
        "bar": BAR,
        "holds": pipeline.low > neighbours.high,
        "figures": {
            "source": source,
            "models": {entry["name"]: _short(entry) for entry in comparison.document["models"]},
        },
    }


def _short(entry: dict[str, Any]) -> dict[str, Any]:
    kept = ("recall@10", "ndcg@10", "recall@100", "coverage@10")
    return {name: entry["metrics"][name] for name in kept} | {
        name: entry[name] for name in ("seconds", "peak_memory_mb")
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the answer to this file")
    asked = parser.parse_args()
    answer = run()
    print(json.dumps(answer, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(answer, indent=1) + "\n")
