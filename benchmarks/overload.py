"""Claim: asked twice what it can answer for a minute, the gateway keeps its tail latency and its memory.

    python -m benchmarks.overload [SECONDS]

Through HAProxy, Ray Serve, Feast over Valkey and the whole pipeline (12,000 items), over HTTP from a process of its
own. `c` is what 8 clients get that ask again as soon as they are answered (10 s). Then requests come at a tenth of c
(unloaded), and at twice c for a minute, whether or not earlier ones have been answered. Bars: the 99th percentile of
admitted requests within 3 times the unloaded one, that of refusals within 20 ms, no answer but 200, 429 and 503, a
Retry-After with each refusal, and no process of the gateway that grows by more than 30 MiB.

The generator shares the machine's cores with what it measures: on two cores its own need is part of the overload.
"""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

import msgspec
import psutil

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from benchmarks.recommendations_http import ITEMS, USERS, _gateway, _home, _servers
from services.core.paths import HomePaths
from services.features.online.writer import OnlineWriter

CLIENTS, CAPACITY_SECONDS = 8, 10.0
SECONDS, UNLOADED_SECONDS = 60.0, 20.0
UNLOADED, OVERLOAD = 0.1, 2.0
BAR_RATIO, BAR_SHED_MS, BAR_GROWTH_MIB = 3.0, 20.0, 30.0
MIB = 1 << 20


def run(seconds: float = SECONDS) -> dict[str, Any]:
    """The claim, measured: name, figure, bar, holds, figures."""
    with _home() as home, ExitStack() as servers:
        snapshot = synthetic_snapshot(HomePaths(home).snapshots, ITEMS)
        addresses = _servers(home, servers)
        now = time.time()
        portraits = [msgspec.structs.replace(p, as_of=now) for p in synthetic_portraits(snapshot, USERS)]
        OnlineWriter(addresses).write_portraits(portraits)
        port = servers.enter_context(_gateway(home, addresses))
        _generator("closed", port, CLIENTS, 3.0)  # to warm up
        capacity = _generator("closed", port, CLIENTS, CAPACITY_SECONDS)
        rate = capacity["admitted_per_s"]
        unloaded = _generator("open", port, UNLOADED * rate, UNLOADED_SECONDS)
        before = _memory(port)
        overloaded = _generator("open", port, OVERLOAD * rate, seconds)
        after = _memory(port)
        again = _generator("open", port, UNLOADED * rate, UNLOADED_SECONDS)
    return _answer(
        capacity, unloaded, overloaded, again, {name: after.get(name, 0.0) - before[name] for name in before}
    )


def _answer(
    capacity: dict[str, Any],
    unloaded: dict[str, Any],
    overloaded: dict[str, Any],
    again: dict[str, Any],
    growth: dict[str, float],
) -> dict[str, Any]:
    ratio = round(overloaded["admitted_ms"]["p99"] / unloaded["admitted_ms"]["p99"], 2)
    shed = overloaded["shed_ms"].get("p99", 0.0)
    grown = round(max(growth.values()), 1)
    clean = not overloaded["other"] and not overloaded["shed_without_retry_after"] and not overloaded["not_sent"]
    return {
        "name": "overload",
        "figure": ratio,
        "bar": BAR_RATIO,
        "holds": ratio <= BAR_RATIO and shed <= BAR_SHED_MS and grown <= BAR_GROWTH_MIB and clean,
        "figures": {
            "capacity": capacity,
            "unloaded": unloaded,
            "overloaded": overloaded,
            "afterwards": again,
            "shed_p99_ms": {"figure": shed, "bar": BAR_SHED_MS},
            "growth_mib": {"figure": grown, "bar": BAR_GROWTH_MIB, "by_process": growth},
        },
    }


def _generator(kind: str, port: int, amount: float, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._generator", kind, *(str(n) for n in (port, amount, seconds, USERS))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _memory(port: int) -> dict[str, float]:
    """MiB of each process of the gateway, by name and id: its own pages, not those shared with others."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("PORTRAIT_PORT") == str(port):
                found[f"{process.name()} {process.pid}"] = round(process.memory_full_info().uss / MIB, 1)
        except (psutil.Error, OSError):
            continue
    return found


if __name__ == "__main__":
    print(json.dumps(run(*(float(text) for text in sys.argv[1:2])), indent=1))
