"""What the portrait adds to search: the place of a user's next item among the answers to what he may have asked.

Amazon Beauty 2014 (PORTRAIT_TEST_DATA names the folder above it, else ../shared/data). Portraits know everything but
each user's last item. An open query is the deepest category of that item, a specific one four words of its title. The
figure is MRR@100 with the portrait over MRR@100 without it, on open queries; on specific queries the portrait must not
lower it. Run: `python -m benchmarks.search_personal [--users N] [--json OUT]`.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._data import data_folder
from services.cli.evaluate import builders
from services.cli.offline_data import read_data
from services.core.settings import get_settings
from services.encoders.text import load_text_encoder
from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from services.ingest.importers.base import ImportOptions
from services.search.index import build
from services.search.index.search_index import SearchIndex
from services.search.item_terms_build import build_item_terms
from services.search.pipeline import SearchPipeline
from services.search.ranker import UntrainedRanker
from services.search.request import SearchRequest
from training.bootstrap import bootstrap_means
from training.compare import Builders, ShopData, make_split

BAR = 1.5
USERS = 1_000
WORDS = 4


def run(users: int = USERS) -> dict[str, Any]:
    """MRR@100 with and without portraits, for open and for specific queries."""
    folder = data_folder("amazon-beauty-2014")
    settings = get_settings()
    files = folder / "user_sequence.txt.gz", folder / "items.tsv.gz"
    data = read_data(*files, settings, format="sequences", options=ImportOptions(), encode=True)
    shop = ShopData(data.source, data.events, data.item_ids, data.vectors)
    split = make_split(shop, "leave-one-out", "test", "purchase")
    snapshot, portraits, now = builders(data, Builders).serving(split.fit_events(), split.history_events())
    with tempfile.TemporaryDirectory(prefix="pt-") as made:
        version = build.build_index(data.items, Path(made), now=datetime.now(UTC))
        index = SearchIndex.open(Path(made) / version)
    pipeline = SearchPipeline(snapshot, index, UntrainedRanker(build_item_terms(snapshot.titles, index.analyser)))
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(split.users))[:users])
    indptr, items = split.target_items
    targets = [data.item_ids[int(items[indptr[row]])].as_py() for row in chosen]
    who = [portraits.get(_user(split, row)) for row in chosen]
    open_queries = [_category(snapshot, target) for target in targets]
    exact_queries = [_title_words(snapshot, target, rng) for target in targets]
    encoder = load_text_encoder(settings.text_encoder, settings.device)
    ranks = {}
    for kind, queries in (("open", open_queries), ("specific", exact_queries)):
        vectors = encoder.encode(queries, purpose="query")
        asked = list(zip(queries, vectors, targets, who, strict=True))
        for label, personal in (("with", True), ("without", False)):
            ranks[f"{kind} {label}"] = np.array(
                [_reciprocal(pipeline, q, v, target, user if personal else None, now) for q, v, target, user in asked]
            )
    means = bootstrap_means(ranks | {"specific gain": ranks["specific with"] - ranks["specific without"]})
    figure = means["open with"].mean / max(means["open without"].mean, 1e-9)
    return {
        "name": "search_personal",
        "figure": round(figure, 3),
        "bar": BAR,
        "holds": bool(figure >= BAR and means["specific gain"].high >= 0),
        "figures": {"users": len(targets)}
        | {name: [round(v.mean, 4), round(v.low, 4), round(v.high, 4)] for name, v in means.items()},
    }


def _user(split: Any, row: int) -> str:
    return str(split.log.user_ids[int(split.users[row])].as_py())


def _category(snapshot: ItemSnapshot, item_id: str) -> str:
    return (snapshot.categories_of(snapshot.index_of(item_id)) or ["beauty"])[-1]


def _title_words(snapshot: ItemSnapshot, item_id: str, rng: np.random.Generator) -> str:
    """Four words of the title in its order; the item's category where it has no title."""
    words = snapshot.titles[snapshot.index_of(item_id)].split()
    if not words:
        return _category(snapshot, item_id)
    return " ".join(words[at] for at in np.sort(rng.permutation(len(words))[:WORDS]))


def _reciprocal(
    pipeline: SearchPipeline, query: str, vector: Any, target: str, portrait: Portrait | None, now: float
) -> float:
    found = pipeline.search(portrait, SearchRequest(query[:512], count=100, highlight=False), vector, now).item_ids
    return 1 / (found.index(target) + 1) if target in found else 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--json", type=Path, help="write the answer to this file")
    arguments = parser.parse_args()
    answer = run(arguments.users)
    print(json.dumps(answer, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(answer, indent=1) + "\n")
