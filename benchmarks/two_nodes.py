"""A Ray cluster of two hosts loses one of them under load: who notices, and for how long.

    python -m benchmarks.two_nodes

Gateways as `deploy/kuberay/rayservice.yaml` has them, one replica on each of two hosts (network namespaces of this
machine, so root), and callers that know both addresses, as a load balancer does: a connection that is refused goes to
the other one. Everything on the second host, raylet, replica and HAProxy, is killed together, and is gone some tenths
of a second later: what a request meets until then is a dying host. Each caller asks 16 times a second, later where an
answer takes longer. Bars: no more requests fail than were under way while the host died, none that began later, and
nine tenths of the rate before are back within 20 s, for good.

`PORTRAIT_BENCH_CALLERS` (8), `PORTRAIT_BENCH_BEFORE` and `PORTRAIT_BENCH_AFTER`: seconds of load (20 and 45).
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import redis

from benchmarks._ray_nodes import HTTP_PORT, OUTSIDE, Host, hosts, proxied, serve, service, start_nodes, wait_until
from benchmarks._sizes import size
from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from benchmarks.recommendations_http import _servers
from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.features.online.writer import OnlineWriter

ITEMS, USERS = 2_000, 300
REPLICAS, CPUS = 2, 3
CALLERS, BEFORE_S, AFTER_S = (8, 4), (20.0, 8.0), (45.0, 30.0)
PACE_S, ANSWER_WITHIN_S = 1 / 16, 10.0
READY_WITHIN_S = 180.0
WINDOW_S, FULL = 1.0, 0.9
BAR_S = 20.0
KEY = "two-nodes-benchmark-key"


@dataclass
class Asked:
    """What became of requests, times on the monotonic clock: `answered` those of 200; `failed`: began, ended, why;
    `times`: when each began and ended."""

    answered: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    failed: list[tuple[float, float, str]] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)


def run() -> dict[str, Any]:
    """The claim, measured: name, figure, bar, holds, figures."""
    with _cluster() as nodes:
        return _answer(*asyncio.run(_lose_one(nodes)))


@contextmanager
def _cluster() -> Iterator[list[Host]]:
    """Two nodes that serve, a replica on each."""
    folder = Path(tempfile.mkdtemp(prefix="p2-")).resolve()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        nodes = stack.enter_context(hosts(folder, 2))
        environment, config = service()
        addresses = _shop(folder / "shop", nodes, stack)
        environment |= {
            "PORTRAIT_DATABASE_URL": addresses.database_url,
            "PORTRAIT_REDIS_URL": addresses.redis_url.replace("127.0.0.1", OUTSIDE),
            "PORTRAIT_BROKER_URL": addresses.broker_url.replace("127.0.0.1", OUTSIDE),
            "PORTRAIT_API_KEYS": KEY,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": KEY,
        }
        start_nodes(nodes, environment, CPUS)
        gateway = config["applications"][0]["deployments"][0]
        del gateway["autoscaling_config"]
        gateway["num_replicas"] = REPLICAS
        serve(nodes[0], environment, config)
        wait_until(lambda: _whole(nodes), "two gateways", READY_WITHIN_S)
        yield nodes


def _shop(home: Path, nodes: list[Host], stack: ExitStack) -> Addresses:
    """Servers that the hosts reach, portraits in them, and the snapshot in each host's home."""
    snapshot = synthetic_snapshot(HomePaths(home).snapshots, ITEMS)
    addresses = _servers(home, stack)
    with redis.Redis.from_url(addresses.redis_url) as valkey:
        valkey.config_set("bind", f"127.0.0.1 {OUTSIDE}")
        valkey.config_set("protected-mode", "no")
    now = time.time()
    portraits = [msgspec.structs.replace(p, as_of=now) for p in synthetic_portraits(snapshot, USERS)]
    OnlineWriter(addresses).write_portraits(portraits)
    for node in nodes:
        shutil.copytree(HomePaths(home).snapshots, HomePaths(node.folder).snapshots)
    return addresses


def _whole(nodes: list[Host]) -> bool:
    choices = proxied(nodes[0])
    return [len(names) for names in choices] == [REPLICAS] * len(nodes) and all(map(_ready, nodes))


def _ready(node: Host) -> bool:
    url = f"http://{node.address}:{HTTP_PORT}/readyz"
    asked = subprocess.run(["curl", "-sf", "-m", "2", "-o", "/dev/null", url])
    return asked.returncode == 0


async def _lose_one(nodes: list[Host]) -> tuple[Asked, dict[str, Any]]:
    asked, stop = Asked(), asyncio.Event()
    callers = int(size("CALLERS", *CALLERS))
    tasks = [asyncio.create_task(_caller(n, nodes, asked, stop)) for n in range(callers)]
    began = time.monotonic()
    await asyncio.sleep(size("BEFORE", *BEFORE_S))
    known = proxied(nodes[0])[0]
    at = time.monotonic()
    dying = nodes[1].die()
    while any(map(_lives, dying)):
        await asyncio.sleep(0.002)
    dead = time.monotonic()
    replaced = asyncio.create_task(_replaced(nodes[0], known))
    await asyncio.sleep(size("AFTER", *AFTER_S))
    stop.set()
    await asyncio.gather(*tasks)
    replaced.cancel()
    again = replaced.result() - at if replaced.done() and not replaced.cancelled() else None
    return asked, {"began": began, "at": at, "dead": dead, "replaced_s": again}


def _lives(pid: int) -> bool:
    """Whether it has a thread left: until the last one ends, its sockets are open."""
    folder = Path(f"/proc/{pid}")
    try:
        if (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            return True
        return len(list((folder / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


async def _replaced(head: Host, known: set[str]) -> float:
    """When the head's HAProxy has as many replicas again, one of them new."""
    while not (len(now := proxied(head)[0]) == REPLICAS and now - known):
        await asyncio.sleep(0.2)
    return time.monotonic()


async def _caller(number: int, nodes: list[Host], asked: Asked, stop: asyncio.Event) -> None:
    """Ask, rest, ask again: on one kept connection, to the other host once that one refuses."""
    chance = np.random.default_rng(number)
    at, streams = number % len(nodes), None
    while not stop.is_set():
        if streams is None or streams[0].at_eof():
            try:
                streams = await asyncio.wait_for(asyncio.open_connection(nodes[at].address, HTTP_PORT), 1.0)
            except (OSError, TimeoutError):
                at, streams = (at + 1) % len(nodes), None
                continue
        began = time.monotonic()
        try:
            status, kept = await asyncio.wait_for(_ask(*streams, int(chance.integers(USERS))), ANSWER_WITHIN_S)
            why = "" if status == 200 else f"status {status}"
        except (OSError, EOFError, TimeoutError) as error:
            kept, why = False, type(error).__name__
        ended = time.monotonic()
        asked.times.append((began, ended))
        if why:
            asked.failed.append((began, ended, why))
        else:
            asked.answered.append(ended)
            asked.latencies.append(ended - began)
        if not kept:
            streams[1].close()
            streams = None
        await asyncio.sleep(max(began + PACE_S - time.monotonic(), 0))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: int) -> tuple[int, bool]:
    """The status of one recommendation, and whether the connection is kept."""
    body = json.dumps({"user_id": f"user-{user:06d}", "count": 20}).encode()
    head = "POST /v1/recommendations HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    said = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(said.partition(b"content-length: ")[2].split(b"\r\n", 1)[0]))
    return int(said.split(b" ", 2)[1]), b"connection: close" not in said


def _answer(asked: Asked, times: dict[str, Any]) -> dict[str, Any]:
    at, before = times["at"], np.array(asked.answered)
    early = before[before < at]
    rate = len(early[early > times["began"] + WINDOW_S]) / (at - times["began"] - WINDOW_S)
    full_s = _full_again_s(before[before >= at] - at, rate)
    lost = [failure for failure in asked.failed if failure[1] >= at]
    later = [failure for failure in lost if failure[0] > times["dead"]]
    under_way = sum(began < times["dead"] and ended >= at for began, ended in asked.times)
    holds = len(lost) <= under_way and not later and len(lost) == len(asked.failed) and full_s <= BAR_S
    return {
        "name": "two_nodes",
        "figure": full_s if np.isfinite(full_s) else None,
        "bar": BAR_S,
        "holds": holds,
        "figures": {
            "requests": len(asked.answered) + len(asked.failed),
            "rate_before_per_s": round(rate, 1),
            "under_way_when_killed": under_way,
            "dead_within_s": round(times["dead"] - at, 3),
            "failed": len(lost),
            "failed_that_began_later": len(later),
            "failed_before": len(asked.failed) - len(lost),
            "failed_began_and_ended_s": [(round(b - at, 3), round(e - at, 3), why) for b, e, why in lost],
            "why": dict(Counter(why for _, _, why in asked.failed)),
            "slowest_ms": round(max(asked.latencies) * 1000, 1),
            "rate_by_second_after": _rates(before[before >= at] - at).tolist(),
            "second_replica_again_s": None if times["replaced_s"] is None else round(times["replaced_s"], 1),
        },
    }


def _rates(since: np.ndarray) -> np.ndarray:
    """Answers in each second (s,) after the kill, the last, which is no whole one, left out."""
    return np.bincount((since / WINDOW_S).astype(int))[:-1]


def _full_again_s(since: np.ndarray, rate: float) -> float:
    """Seconds after which three seconds together reach the rate, and all later ones do; infinite: never."""
    together = np.convolve(_rates(since), np.ones(3) / 3, "valid")
    slow = np.flatnonzero(together < FULL * rate * WINDOW_S)
    if not slow.size:
        return 0.0
    return float(slow[-1] + 1) * WINDOW_S if slow[-1] + 1 < len(together) else float("inf")


if __name__ == "__main__":
    answer = run()
    print(json.dumps(answer, indent=1))
    sys.exit(not answer["holds"])
