"""What a catalogue of a million items costs a request and a host, against one of ten thousand.

Snapshots of synthetic shops, as a worker builds and a gateway opens them. Requests of all sizes alternate in one
process. Resident memory is what two processes, as the replicas of a host, have of the snapshot: the proportional set
size of its mapped files, and what else they need more than the same code without a snapshot, after every item was
somebody's candidate a few times.

Bars: p50 with 1M over p50 with 10k ≤ 2.5; recall@100 of nearest neighbours against exact search ≥ 0.95; swap (from the
order, `current` written, to serving) ≤ 3 s; resident bytes per item ≤ 900. `PORTRAIT_BENCH_ITEMS` (1,000,000) is the
large size. Run: `python -m benchmarks.items_growth`.
"""

import gc
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks._sizes import size
from benchmarks._synthetic_shop import NOW, synthetic_portraits, synthetic_tables
from services.core.metrics import ServingMetrics
from services.features.nearest import best_of
from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot, publish
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecommendationRequest
from services.serve.serving import SnapshotWatcher

SMALL, MIDDLE = 10_000, 100_000
EXACT_FILE = "exact.npy"
REQUESTS, RECALL_QUERIES, NEIGHBOURS = 2_000, 200, 100
RATIO_BAR, RECALL_BAR, SWAP_BAR_S, RESIDENT_BAR = 2.5, 0.95, 3.0, 900


def run() -> dict[str, Any]:
    """The ratio of the medians, and by size what a catalogue costs."""
    large = int(size("ITEMS", 1_000_000, 50_000))
    with tempfile.TemporaryDirectory() as folder:
        homes = {items: Path(folder) / str(items) for items in sorted({SMALL, min(MIDDLE, large), large})}
        built = {items: _in_child(_build, home, items) for items, home in homes.items()}
        return measured(homes, built)


def measured(homes: dict[int, Path], built: dict[int, dict[str, float]]) -> dict[str, Any]:
    """What the snapshots in these folders cost; `built`: what building them did."""
    requests = _in_child(_compare, homes)
    by_size = {
        items: built[items]
        | requests[items]
        | {"recall_at_100": _in_child(_recall, home)}
        | _resident(home, items)
        | {"disk_bytes_per_item": _disk(_published(home), items)}
        for items, home in homes.items()
    }
    large = by_size[max(homes)]
    ratio = round(large["p50_ms"] / by_size[SMALL]["p50_ms"], 3)
    holds = (
        ratio <= RATIO_BAR
        and large["recall_at_100"] >= RECALL_BAR
        and large["swap_s"] <= SWAP_BAR_S
        and large["resident_bytes_per_item"] <= RESIDENT_BAR
    )
    return {
        "name": "items_growth",
        "figure": ratio,
        "bar": RATIO_BAR,
        "holds": holds,
        "figures": {str(items): figures for items, figures in by_size.items()}
        | {"load_average": round(os.getloadavg()[0], 1)},
    }


def _build(home: Path, items: int) -> dict[str, float]:
    """Processor seconds of a build, its peak of memory, and what of that the tables take that it is given."""
    tables = synthetic_tables(items)
    home.mkdir(parents=True)
    before = psutil.Process().memory_info().rss
    started = time.process_time()
    build_snapshot(tables, home, now=NOW)
    spent = round(time.process_time() - started, 1)
    exact = np.frombuffer(tables.vectors["vector"].chunk(0).buffers()[2], "<f4").reshape(items, -1)
    np.save(home / EXACT_FILE, exact)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"build_s": spent, "build_peak_gb": round(peak / 1e9, 2), "build_tables_gb": round(before / 1e9, 2)}


def _published(home: Path) -> Path:
    return next(home.glob("*/manifest.json")).parent


def _disk(folder: Path, items: int) -> dict[str, float]:
    """By file what it takes an item; files below one byte an item only in `all`."""
    taken = {path.name: path.stat().st_size / items for path in folder.iterdir()}
    large = sorted((name for name in taken if taken[name] >= 1), key=lambda name: -taken[name])
    return {"all": round(sum(taken.values()), 1)} | {name: round(taken[name], 1) for name in large}


def _compare(homes: dict[int, Path]) -> dict[int, dict[str, float]]:
    """Times of requests to all sizes in turn, and of the swaps to them."""
    served, swap = {}, {}
    for items, home in homes.items():
        watcher = SnapshotWatcher(home, ServingMetrics())
        version = _published(home).name
        started = time.perf_counter()
        publish(home, version)
        watcher.refresh()
        swap[items] = time.perf_counter() - started
        assert watcher.serving is not None, watcher.failure
        served[items] = watcher.serving.pipeline
    portraits = {items: synthetic_portraits(pipeline.snapshot, 300) for items, pipeline in served.items()}
    gc.collect()
    gc.freeze()
    spent: dict[int, list[float]] = {items: [] for items in served}
    wall: dict[int, list[float]] = {items: [] for items in served}
    for number in range(REQUESTS):
        for items, pipeline in served.items():
            start, cpu = time.perf_counter(), time.thread_time()
            _ask(pipeline, portraits[items][number % 300])
            spent[items].append(time.thread_time() - cpu)
            wall[items].append(time.perf_counter() - start)
    half = REQUESTS // 2
    return {
        items: {
            "p50_ms": round(float(np.median(wall[items][half:])) * 1000, 3),
            "p99_ms": round(float(np.quantile(wall[items][half:], 0.99)) * 1000, 3),
            "processor_p50_ms": round(float(np.median(spent[items][half:])) * 1000, 3),
            "swap_s": round(swap[items], 3),
        }
        for items in served
    }


def _ask(pipeline: RecommendationPipeline, portrait: Portrait) -> None:
    pipeline.recommend(portrait, RecommendationRequest(portrait.user_id), portrait.as_of, seed="bench")


def _recall(home: Path) -> float:
    """Against the vectors the snapshot was built from; of queries as profiles are, means of four items of one shelf."""
    snapshot = ItemSnapshot.open(_published(home))
    random = np.random.default_rng(5)
    rows = np.flatnonzero(snapshot.has_vector & snapshot.available).astype(np.int32)
    vectors, leaf = np.load(home / EXACT_FILE, mmap_mode="r"), snapshot.categories_padded[:, 0]
    queries = []
    for item in random.choice(rows, RECALL_QUERIES):
        same = rows[leaf[rows] == leaf[item]]
        mean = vectors[random.choice(same, 4)].mean(axis=0)
        queries.append(mean / np.linalg.norm(mean))
    asked = np.stack(queries).astype(np.float32)
    found, _ = snapshot.nearest(asked, NEIGHBOURS)
    hits, searched = 0, vectors[rows]
    for start in range(0, len(asked), 20):
        exact, _ = best_of(asked[start : start + 20] @ searched.T, rows, NEIGHBOURS)
        hits += sum(np.intersect1d(f, e).size for f, e in zip(found[start : start + 20], exact, strict=True))
    return round(hits / (len(asked) * NEIGHBOURS), 4)


def _resident(home: Path, items: int) -> dict[str, Any]:
    """Bytes an item of two replicas together, against two that serve the same code without a snapshot."""
    context = multiprocessing.get_context("spawn")
    arrived, go_on = context.Semaphore(0), context.Event()
    replicas = [context.Process(target=_serve, args=(home, seed, arrived, go_on)) for seed in (1, 2)]
    for replica in replicas:
        replica.start()
    for _ in replicas:
        arrived.acquire()
    mapped = sum(_mapped(replica.pid, home) for replica in replicas)
    own = sum(psutil.Process(replica.pid).memory_full_info().pss for replica in replicas) - mapped
    go_on.set()
    for _ in replicas:
        arrived.acquire()
    bases = [psutil.Process(replica.pid).memory_full_info().pss for replica in replicas]
    go_on.clear()
    for replica in replicas:
        replica.terminate()
        replica.join()
    return {
        "resident_bytes_per_item": round((mapped + max(own - sum(bases), 0)) / items),
        "of_mapped_files": round(mapped / items),
        "of_processes_themselves": round((own - sum(bases)) / items),
    }


def _serve(home: Path, seed: int, arrived: Any, go_on: Any) -> None:
    snapshot = ItemSnapshot.open(_published(home))
    pipeline = RecommendationPipeline(snapshot)
    pipeline.warm()
    asked = max(REQUESTS, 3 * snapshot.count // 500)
    for start in range(0, asked, 200):
        for portrait in synthetic_portraits(snapshot, 200, seed=seed * 1_000_000 + start):
            _ask(pipeline, portrait)
    arrived.release()
    go_on.wait()
    del pipeline, snapshot
    gc.collect()
    arrived.release()
    time.sleep(60)


def _mapped(pid: int | None, home: Path) -> int:
    return sum(m.pss for m in psutil.Process(pid).memory_maps(grouped=True) if m.path.startswith(str(home)))


def _in_child(function: Any, *arguments: Any) -> Any:
    """What a function returns in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


if __name__ == "__main__":
    sys.modules.setdefault("benchmarks.items_growth", sys.modules["__main__"])
    print(json.dumps(run(), indent=1))
