"""A model is promoted, and rolled back, while eight clients ask for recommendations of 12,000 items.

Bars: no failed request (the load generator ends at the first), and none slower than 250 ms. The same load without a
change stands beside it. Run: `python -m benchmarks.promote_under_load`.
"""

import json
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from typing import Any

import msgspec

from benchmarks._random_models import publish_random
from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from benchmarks.recommendations_http import ITEMS, USERS, _gateway, _home, _servers
from services.core.paths import HomePaths
from services.features.online.writer import OnlineWriter
from services.registry.registry import ModelRegistry

CLIENTS = 8
SECONDS = 24.0
SLOWEST_MS = 250.0
VERSION = "random-1"


def run() -> dict[str, Any]:
    """Latencies with and without a change of the model, and which models answered."""
    with _home() as home, ExitStack() as servers:
        paths = HomePaths(home)
        snapshot = synthetic_snapshot(paths.snapshots, ITEMS)
        registry = ModelRegistry(paths.models)
        publish_random(registry, snapshot, VERSION)
        now = time.time()
        portraits = [msgspec.structs.replace(p, as_of=now) for p in synthetic_portraits(snapshot, USERS)]
        addresses = _servers(home, servers)
        OnlineWriter(addresses).write_portraits(portraits)
        port = servers.enter_context(_gateway(home, addresses))
        quiet = _ended(_load(port))
        answered = [_model(port)]
        load = _load(port)
        for change in (lambda: registry.promote(VERSION), registry.rollback, lambda: registry.promote(VERSION)):
            time.sleep(SECONDS / 4)
            change()
        changed = _ended(load)
        answered.append(_model(port))
        learned = _ended(_load(port))
    failed = next((load["failed"] for load in (quiet, changed, learned) if "failed" in load), None)
    slowest = changed.get("most_ms", float("inf"))
    return {
        "name": "promote_under_load",
        "figure": slowest,
        "bar": SLOWEST_MS,
        "holds": failed is None and slowest <= SLOWEST_MS and answered == ["linear-blend", "learned"],
        "figures": {
            "failed": failed,
            "models_before_and_after": answered,
            "while_changing": changed,
            "linear_blend": quiet,
            "learned": learned,
        },
    }


def _load(port: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks._http_load", str(port), str(CLIENTS), str(SECONDS), str(USERS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _ended(load: subprocess.Popen) -> dict[str, Any]:
    out, error = load.communicate()
    return json.loads(out) if load.returncode == 0 else {"failed": error.strip().splitlines()[-1:]}


def _model(port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/recommendations", b'{"user_id": "user-000001"}')
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["model"]["name"]


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
