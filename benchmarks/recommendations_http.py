"""`POST /v1/recommendations` end to end: HAProxy, Ray Serve, Feast over Valkey, 500 candidates of 12,000 items.

Bars on 2 cores: one client p50 ≤ 4 ms and p99 ≤ 12 ms; 8 clients ≥ 350 requests/s. The load generator runs on the same
two cores, in a process of its own. The pipeline alone is timed in the same run.

Run: `python -m benchmarks.recommendations_http`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from services.core.addresses import Addresses, write_addresses
from services.core.paths import HomePaths
from services.db.migrate import upgrade
from services.features.online.writer import OnlineWriter
from services.features.portrait import Portrait
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecommendationRequest
from services.runtime.ports import free_port
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.valkey import BROKER_DB, ONLINE_STORE_DB, EmbeddedValkey

ITEMS, USERS = 12_000, 1_000
SECONDS = 8.0
P50_MS, P99_MS, REQUESTS_PER_S = 4.0, 12.0, 350.0
READY_WITHIN_S = 120.0


def run() -> dict[str, Any]:
    """Throughput and latency through the whole stack, and of the pipeline alone."""
    with _home() as home, ExitStack() as servers:
        snapshot = synthetic_snapshot(HomePaths(home).snapshots, ITEMS)
        now = time.time()
        portraits = [msgspec.structs.replace(p, as_of=now) for p in synthetic_portraits(snapshot, USERS)]
        pipeline = _pipeline_alone(RecommendationPipeline(snapshot), portraits)
        addresses = _servers(home, servers)
        OnlineWriter(addresses).write_portraits(portraits)
        port = servers.enter_context(_gateway(home, addresses))
        one, eight = _load(port, 1), _load(port, 8)
        stages = _stages(port)
    holds = one["p50_ms"] <= P50_MS and one["p99_ms"] <= P99_MS and eight["requests_per_s"] >= REQUESTS_PER_S
    return {
        "name": "recommendations_http",
        "figure": eight["requests_per_s"],
        "bar": REQUESTS_PER_S,
        "holds": holds,
        "figures": {
            "one_client": one | {"bar_p50_ms": P50_MS, "bar_p99_ms": P99_MS},
            "eight_clients": eight,
            "pipeline_alone": pipeline,
            "server_timing": stages,
        },
    }


@contextmanager
def _home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pb-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _servers(home: Path, servers: ExitStack) -> Addresses:
    """PostgreSQL and Valkey as `portrait up` starts them, migrated and with the features applied."""
    postgres, valkey = EmbeddedPostgres(HomePaths(home)), EmbeddedValkey(HomePaths(home))
    for server in (postgres, valkey):
        server.start()
        servers.callback(server.stop)
    addresses = Addresses(
        database_url=postgres.url(),
        redis_url=valkey.url(ONLINE_STORE_DB),
        broker_url=valkey.url(BROKER_DB),
        redis_socket=str(valkey.socket),
    )
    write_addresses(home, addresses)
    upgrade(addresses.sqlalchemy_url)
    environment = os.environ | {"PORTRAIT_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "feature_repo.registry_sync", "apply"], check=True, env=environment)
    return addresses


@contextmanager
def _gateway(home: Path, addresses: Addresses) -> Iterator[int]:
    """`python -m services.serve.main` on a free port, ready."""
    port = free_port()
    environment = os.environ | {"PORTRAIT_HOME": str(home), "PORTRAIT_PORT": str(port), "OMP_NUM_THREADS": "1"}
    write_addresses(home, replace(addresses, http_url=f"http://127.0.0.1:{port}"))
    process = subprocess.Popen([sys.executable, "-m", "services.serve.main"], env=environment)
    try:
        _wait_until_ready(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_until_ready(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the gateway is not ready after {READY_WITHIN_S:.0f} s")


def _load(port: int, clients: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._http_load", str(port), str(clients), str(SECONDS), str(USERS)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _stages(port: int, requests: int = 300) -> dict[str, float]:
    """Median milliseconds of each stage, from the Server-Timing header."""
    seen: dict[str, list[float]] = {}
    for user in range(requests):
        body = json.dumps({"user_id": f"user-{user:06d}"}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/recommendations", body)
        with urllib.request.urlopen(request) as answer:
            for stage in answer.headers["server-timing"].split(", "):
                name, _, milliseconds = stage.partition(";dur=")
                seen.setdefault(name, []).append(float(milliseconds))
    return {name: round(float(np.median(values)), 3) for name, values in seen.items()}


def _pipeline_alone(pipeline: RecommendationPipeline, portraits: list[Portrait]) -> dict[str, float]:
    """Milliseconds of CPU of one list, without HTTP and without the read of the portrait."""
    pipeline.warm()
    spent, candidates = [], []
    for portrait in portraits:
        start = time.thread_time_ns()
        found = pipeline.recommend(portrait, RecommendationRequest(portrait.user_id), portrait.as_of, seed="bench")
        spent.append((time.thread_time_ns() - start) / 1e6)
        candidates.append(found.candidates)
    p50, p99 = np.percentile(spent, (50, 99))
    return {
        "cpu_p50_ms": round(float(p50), 3),
        "cpu_p99_ms": round(float(p99), 3),
        "candidates": float(np.median(candidates)),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
