"""`POST /v1/search` and `GET /v1/suggest` through the whole stack over 54,667 real products: latency, throughput, and
what encoding adds.

The catalogue is Home Depot's judged products (../shared/data), searched with the queries that people typed, by users
with full portraits, each query again and again, as a shop's frequent ones are: `cached_vector_other_filter` is what one
takes whose vector alone is known. Where vectors are not cached each query is new, and how long it waits for its vector
is set against the encoder's own time, measured in the same run with as many threads. Suggestions are asked for at each
letter of queries as they are typed; all queries are known, as if two people had asked each.

Run: `python -m benchmarks.search_http`.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks._home_depot import home_depot
from benchmarks._search_load import USERS
from benchmarks._synthetic_shop import synthetic_portraits
from benchmarks.recommendations_http import _gateway, _home, _servers
from feature_repo.names import ENGAGEMENT_FEATURES
from services.cli.offline_data import text_vectors
from services.cli.search_data import catalogue_of
from services.core.errors import NotReady
from services.core.paths import HomePaths
from services.core.settings import Settings, get_settings
from services.features import snapshot_build
from services.features.online.writer import OnlineWriter
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_tables import SnapshotTables
from services.search.index import build as index_build
from services.search.suggest.build import build_suggestions
from services.search.suggest.build import publish as publish_suggestions

CACHED, UNCACHED, TYPED = 1_000, 200, 200
SECONDS = 10.0
P50_MS, P99_MS, REQUESTS_PER_S, ADDED = 6.0, 20.0, 250.0, 1.3
SUGGEST_P99_MS = 10.0
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def run() -> dict[str, Any]:
    """Latency and throughput with cached query vectors, what an uncached one adds to the encoder's own time, and the
    latency of suggestions."""
    judged = home_depot()
    products = catalogue_of(judged.items)
    vectors, space = _vectors(products, get_settings())
    queries = np.random.default_rng(5).permutation(judged.queries).tolist()
    with _home() as home, ExitStack() as servers:
        snapshot = _publish(home, products, vectors, space, queries)
        portraits = [msgspec.structs.replace(p, as_of=time.time()) for p in synthetic_portraits(snapshot, USERS)]
        addresses = _servers(home, servers)
        OnlineWriter(addresses).write_portraits(portraits)
        port = servers.enter_context(_gateway(home, addresses))
        known, unknown = queries[:CACHED], queries[CACHED : CACHED + UNCACHED]
        _wait_for_the_encoder(port, home)
        first = _send(port, home, known, 1)
        again = _send(port, home, known, 1)
        one, eight = (_send(port, home, known, clients, SECONDS) for clients in (1, 8))
        typed = [query[:end] for query in known[:TYPED] for end in range(1, len(query) + 1)]
        _check_suggestions(port, typed[0])
        suggest = _send(port, home, typed, 1, SECONDS, "suggest")
        anew = _send(port, home, known, 1, 0.0, "anew")
        fresh = _send(port, home, unknown, 1)
        own = _encoder_alone(unknown)
    added = fresh["stages"]["encoder"]
    ratio = round(added / own["p50_ms"], 3)
    fast = one["p50_ms"] <= P50_MS and one["p99_ms"] <= P99_MS and suggest["p99_ms"] <= SUGGEST_P99_MS
    return {
        "name": "search_http",
        "figure": eight["requests_per_s"],
        "bar": REQUESTS_PER_S,
        "holds": bool(fast and eight["requests_per_s"] >= REQUESTS_PER_S and ratio <= ADDED),
        "figures": {
            "products": products.height,
            "one_client": one | {"bar_p50_ms": P50_MS, "bar_p99_ms": P99_MS},
            "eight_clients": eight,
            "suggestions": suggest | {"bar_p99_ms": SUGGEST_P99_MS},
            "uncached": {"added_ms": round(added, 3), "of_the_encoders_own": ratio, "bar": ADDED, "encoder_alone": own},
            "first_time": first,
            "cached": again,
            "cached_vector_other_filter": anew,
            "fresh": fresh,
        },
    }


def _publish(
    home: Path, products: pl.DataFrame, vectors: NDArray[np.float32], space: str, queries: list[str]
) -> ItemSnapshot:
    """The snapshot and the search index of the products, and suggestions of them and the queries.

    Brands are the titles' first words, prices are drawn.
    """
    paths, random, size = HomePaths(home), np.random.default_rng(3), products.height
    ids = products["item_id"].to_arrow().cast(pa.string())
    items = pa.table(
        {
            "item_id": ids,
            "title": products["title"].to_arrow().cast(pa.string()),
            "description": pa.nulls(size, pa.string()),
            "brand": [title.split()[0] for title in products["title"]],
            "categories": [["Home improvement", f"Aisle {n}"] for n in random.integers(0, 60, size).tolist()],
            "price": random.lognormal(3, 1, size).round(2),
            "currency": ["USD"] * size,
            "attributes": ["{}"] * size,
            "image_urls": pa.array([[]] * size, pa.list_(pa.string())),
            "video_urls": pa.array([[]] * size, pa.list_(pa.string())),
            "available": random.random(size) > 0.02,
            "published_at": pa.nulls(size, pa.timestamp("us", tz="UTC")),
        }
    )
    engagement = {name: random.random(size).astype(np.float32) for name in ENGAGEMENT_FEATURES}
    packed = pa.array([row.tobytes() for row in vectors], pa.binary())
    none = pa.table({"item_id": pa.array([], pa.string()), "neighbour_id": pa.array([], pa.string())})
    tables = SnapshotTables(
        items=items,
        engagement=pa.table({"item_id": ids, **engagement}),
        vectors=pa.table({"item_id": ids, "space": [space] * size, "vector": packed}),
        co_engagement=none.append_column("score", pa.array([], pa.float32())),
    )
    paths.snapshots.mkdir(parents=True, exist_ok=True)
    folder = snapshot_build.publish(paths.snapshots, snapshot_build.build_snapshot(tables, paths.snapshots, now=NOW))
    index_build.publish(paths.search, index_build.build_index(items, paths.search, now=NOW))
    publish_suggestions(paths.suggest, build_suggestions(items, dict.fromkeys(queries, 2), paths.suggest, now=NOW))
    return ItemSnapshot.open(folder)


def _vectors(products: pl.DataFrame, settings: Settings) -> tuple[NDArray[np.float32], str]:
    """The titles' vectors as the gateway's encoder makes them of queries, and the name of their space."""
    from services.encoders.encoder_set import EncoderSet  # noqa: PLC0415 - torch, where the benchmark runs

    encoders = EncoderSet(settings)
    return encoders.in_space(text=text_vectors(products, settings)[0]), encoders.space


def _wait_for_the_encoder(port: int, home: Path) -> None:
    """Until a new query is encoded in time: the models are loaded when the index has been opened."""
    deadline = time.monotonic() + 120
    for attempt in count():
        if "encoded" in _send(port, home, [f"warm up {attempt}"], 1)["outcomes"]:
            return
        if time.monotonic() > deadline:
            raise NotReady("The encoder does not answer in time: see the gateway's log")


def _check_suggestions(port: int, typed: str) -> None:
    """Raises NotReady where nothing is suggested: that would be fast."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/suggest?q={quote(typed)}") as answer:
        if not json.loads(answer.read())["suggestions"]:
            raise NotReady(f"Nothing is suggested for {typed!r}: see the gateway's log")


def _send(port: int, home: Path, queries: list[str], clients: int, seconds: float = 0.0, *what: str) -> dict[str, Any]:
    file = home / "queries.json"
    file.write_text(json.dumps(queries))
    arguments = [str(port), str(clients), str(seconds), str(file), *what]
    command = [sys.executable, "-m", "benchmarks._search_load", *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _encoder_alone(queries: list[str]) -> dict[str, float]:
    """Milliseconds of one query at a time, on one thread, in a process that does nothing else."""
    code = (
        "import json, sys, time, numpy, torch; torch.set_num_threads(1)\n"
        "from services.encoders.text import load_text_encoder\n"
        "encoder, spent = load_text_encoder(), []; encoder.only_encode()\n"
        "for query in json.load(sys.stdin):\n"
        "    began = time.perf_counter(); encoder.encode([query], purpose='query')\n"
        "    spent.append((time.perf_counter() - began) * 1000)\n"
        "print(json.dumps({'p50_ms': numpy.median(spent), 'p99_ms': numpy.percentile(spent, 99)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        input=json.dumps(queries),
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return {name: round(value, 3) for name, value in json.loads(done.stdout).items()}


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
