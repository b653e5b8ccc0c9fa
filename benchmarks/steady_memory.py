"""Memory of every process under steady load: its own pages every 10 s, and their slope after a warm-up.

`PORTRAIT_BENCH_MINUTES` (30) is how long. Own pages are private pages of private mappings: what is mapped to be shared,
PostgreSQL's buffers above all, is nobody's own, and each backend's resident size (and even its unique set size, by the
pages that it alone has touched so far) grows until it has touched them all. The figure is the steepest slope in MiB an
hour (least squares) of the processes that lived at least half of the time that is measured; beside it is the slope of
the least of each minute, which leaves out what a job or a tick under way needs for as long as it lasts.
Run: `python -m benchmarks.steady_memory [MINUTES]`.
"""

import json
import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
import psutil

from benchmarks._sizes import size
from tests.e2e.faults.kills import everything
from tests.e2e.faults.rounds import under_load
from tests.e2e.faults.stack import FaultStack, running_stack

ITEMS, DAYS = 1_000, 60
USERS = int(size("USERS", 20_000, 1_000))
EVENTS_PER_S, PAGES_PER_S = 50.0, 20.0
LOAD_USERS = int(size("LOAD_USERS", USERS, USERS))
"""Who the events come from: everybody. Steady means that the shop does not become another one meanwhile: half an hour
of this load is 90,000 events, which a log of millions does not notice and that of a small shop does. Jobs need what the
log needs, and a tick what its users' logs of 30 days need, so few users are a different question, which
`PORTRAIT_BENCH_LOAD_USERS=60` and `PORTRAIT_BENCH_USERS=1000` ask."""
EVERY_S = 10.0
WARM_UP_SHARE = 0.3
"""Of the time, at its beginning: caches and pools fill, imports happen."""
SLOPE_MIB_H = 30.0
"""Bar: the steepest slope. The log of users' last 30 days and the online store grow with the load itself."""

Key = tuple[int, str]


def run(minutes: float | None = None) -> dict[str, Any]:
    """Slopes by process, steepest first."""
    lasting = size("MINUTES", 30, 3) if minutes is None else minutes
    with running_stack(items=ITEMS, users=USERS, days=DAYS) as stack:
        with under_load(stack, events_per_s=EVENTS_PER_S, pages_per_s=PAGES_PER_S, users=LOAD_USERS) as load:
            sizes = _watch(stack, lasting * 60)
        statuses = {str(status): count for status, count in load.ledger.statuses.items()}
    slopes = sorted((_slope(seen, lasting * 60) for seen in sizes.items()), key=lambda row: -row["mib_per_hour"])
    least = (1 - WARM_UP_SHARE) * lasting * 60 / EVERY_S / 2
    watched = [row for row in slopes if row["samples"] >= least]
    figure = watched[0]["mib_per_hour"] if watched else 0.0
    return {
        "name": "steady_memory",
        "figure": figure,
        "bar": SLOPE_MIB_H,
        "holds": figure <= SLOPE_MIB_H,
        "figures": {
            "minutes": lasting,
            "load_users": LOAD_USERS,
            "answers_by_status": statuses,
            "sum_mib_per_hour": round(sum(row["mib_per_hour"] for row in watched), 2),
            "processes": watched,
        },
    }


def _watch(stack: FaultStack, seconds: float) -> dict[Key, list[tuple[float, float]]]:
    """(seconds since the start, MiB) of each process, by pid and name."""
    began, found = time.monotonic(), defaultdict(list)
    due = began
    while (passed := time.monotonic() - began) < seconds:
        for identity in everything(stack):
            try:
                process = psutil.Process(identity.pid)
                found[identity.pid, _name(process)].append((passed, _own_mib(process)))
            except psutil.Error:
                continue  # it ended while we looked
        due += EVERY_S
        time.sleep(max(0.0, due - time.monotonic()))
    return found


def _slope(seen: tuple[Key, list[tuple[float, float]]], seconds: float) -> dict[str, Any]:
    (pid, name), samples = seen
    after = [each for each in samples if each[0] >= WARM_UP_SHARE * seconds] or samples[-1:]
    minutes = defaultdict(list)
    for at, own in after:
        minutes[at // 60].append((at, own))
    return {
        "process": name,
        "pid": pid,
        "samples": len(after),
        "first_mib": round(after[0][1], 1),
        "last_mib": round(after[-1][1], 1),
        "mib_per_hour": _mib_per_hour(after),
        "mib_per_hour_at_rest": _mib_per_hour([min(some, key=lambda each: each[1]) for some in minutes.values()]),
        "every_minute_mib": [round(size, 1) for _, size in samples[:: round(60 / EVERY_S)]],
    }


def _mib_per_hour(samples: list[tuple[float, float]]) -> float:
    if len(samples) < 3:
        return 0.0
    times, sizes = np.array(samples).T
    return round(float(np.polyfit(times / 3600, sizes, 1)[0]), 2)


def _own_mib(process: psutil.Process) -> float:
    own = [each for each in process.memory_maps(grouped=False) if each.perms.endswith("p")]
    return sum(each.private_clean + each.private_dirty for each in own) / 2**20


def _name(process: psutil.Process) -> str:
    """A process by what it is: the part's mark where it shows one, and the head of its command line."""
    line = " ".join(process.cmdline()) or process.name()
    for word in ("services.", "ray::", "postgres:", "celery", "raylet", "gcs_server", "haproxy", "valkey"):
        if word in line:
            return _doing(line[line.index(word) :][:60].strip())
    return line.rsplit("/", 1)[-1][:60].strip()


def _doing(title: str) -> str:
    """A PostgreSQL backend's title without what it does just now."""
    return title.split("[local]")[0].strip() if title.startswith("postgres:") else title


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else None), indent=1))
