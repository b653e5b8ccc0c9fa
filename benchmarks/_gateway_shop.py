"""A gateway over a synthetic shop, and what is asked of it and of the same pipeline in this process."""

import gc
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from benchmarks.recommendations_http import _gateway, _home, _servers
from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.features.online.reader import OnlineReader
from services.features.online.writer import OnlineWriter
from services.features.snapshot import ItemSnapshot
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecommendationRequest


@dataclass(frozen=True)
class GatewayShop:
    """A ready gateway on `port`; `users` have portraits in the online store."""

    port: int
    addresses: Addresses
    snapshot: ItemSnapshot
    users: list[str]


@contextmanager
def gateway_shop(items: int, users: int) -> Iterator[GatewayShop]:
    """Servers, a snapshot of `items`, portraits of `users` as full as they get, and a gateway over them."""
    with _home() as home, ExitStack() as stack:
        snapshot = synthetic_snapshot(HomePaths(home).snapshots, items)
        now = time.time()
        portraits = [msgspec.structs.replace(p, as_of=now) for p in synthetic_portraits(snapshot, users)]
        addresses = _servers(home, stack)
        OnlineWriter(addresses).write_portraits(portraits)
        port = stack.enter_context(_gateway(home, addresses))
        yield GatewayShop(port, addresses, snapshot, [p.user_id for p in portraits])


def pipeline_call(shop: GatewayShop) -> Callable[[str], int]:
    """The pipeline as the gateway runs it, in this process: the portrait's read, the list, its answer as JSON."""
    reader, pipeline = OnlineReader(shop.addresses), RecommendationPipeline(shop.snapshot)
    pipeline.warm()

    def call(user: str) -> int:
        portrait = reader.portrait(user)
        assert portrait is not None  # they were written
        found = pipeline.recommend(portrait, RecommendationRequest(user), time.time(), seed=user)
        rows = zip(found.item_ids, found.scores, found.sources, strict=True)
        return len(msgspec.json.encode([{"item_id": i, "score": s, "sources": o} for i, s, o in rows]))

    for user in shop.users[:50]:
        call(user)
    gc.collect()
    gc.freeze()
    return call


def post(path: str, body: dict[str, Any]) -> bytes:
    """A request on a kept connection."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


class Caller:
    """One caller on one kept connection, as lean as it gets."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def seconds(self, request: bytes) -> float:
        """How long the answer took. Raises RuntimeError for anything but a 200."""
        started = time.perf_counter()
        self._socket.sendall(request)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            received = self._socket.recv(65_536)
            if not received:  # HAProxy closes kept connections when its configuration changes
                self._connect()
                return self.seconds(request)
            data += received
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:300].decode(errors="replace"))
        length = int(data[:end].lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        while len(data) < end + 4 + length:
            data += self._socket.recv(65_536)
        return time.perf_counter() - started


def timed(call: Callable[[str], Any], users: list[str]) -> list[float]:
    """Seconds of each call."""
    spent = []
    for user in users:
        started = time.perf_counter()
        call(user)
        spent.append(time.perf_counter() - started)
    return spent


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    p50, p99 = np.percentile(np.array(seconds) * 1000, (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def load(port: int, clients: int, seconds: float, users: int) -> dict[str, Any]:
    """What `clients` callers get, from a process of their own."""
    command = [sys.executable, "-m", "benchmarks._http_load", *(str(n) for n in (port, clients, seconds, users))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
