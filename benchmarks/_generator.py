"""A load generator that goes on when it is refused.

`python -m benchmarks._generator open PORT RATE SECONDS USERS`: requests leave when they are due, by a Poisson process,
whether or not earlier ones have been answered. `… closed PORT CLIENTS SECONDS USERS`: clients that ask again once they
are answered. Prints one JSON object.

Latencies are milliseconds from when a request was sent; `lateness` is how far behind its schedule that was: on
few cores that is the limit of what the generator can say.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from benchmarks._http_load import payload

MAX_CONNECTIONS = 1_000
ANSWERED, SHED = 200, (429, 503)
STRAGGLERS_S = 5.0
REFUSED_S = 0.05


@dataclass
class Tally:
    """What came back."""

    admitted: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    other: dict[str, int] = field(default_factory=dict)
    without_retry_after: int = 0
    not_sent: int = 0

    def answer(self, status: int, head: bytes, seconds: float) -> None:
        """Count one answer."""
        if status == ANSWERED:
            self.admitted.append(seconds)
        elif status in SHED:
            self.shed.append(seconds)
            self.without_retry_after += b"retry-after:" not in head.lower()
        else:
            self.other[str(status)] = self.other.get(str(status), 0) + 1


class Connection(asyncio.Protocol):
    """One kept connection: a request at a time."""

    def __init__(self, tally: Tally, idle: "list[Connection]") -> None:
        self._tally, self._idle = tally, idle
        self._data = b""
        self._sent: float | None = None
        self.transport: asyncio.Transport | None = None
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self._sent = time.perf_counter()
        self.transport.write(request)

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0 or self._sent is None:
            return
        head = self._data[:end]
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        if len(self._data) < end + 4 + length:
            return
        self._tally.answer(int(head[9:12]), head, time.perf_counter() - self._sent)
        self._data, self._sent = b"", None
        self.answered.set()
        if b"connection: close" not in head.lower():
            self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent is not None:
            self._tally.other["broken"] = self._tally.other.get("broken", 0) + 1
            self._sent = None
        self.answered.set()


async def load(port: int, rate: float, seconds: float, users: int) -> Tally:
    """Send `rate` requests a second on average, each as soon as it is due."""
    random = np.random.default_rng(7)
    due = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    requests = [payload(user) for user in range(users)]
    whose = random.integers(users, size=due.size)
    tally, idle, opened = Tally(), [], 0
    loop = asyncio.get_running_loop()
    start = time.perf_counter() + 0.2
    opening: set[asyncio.Task] = set()

    async def open_and_send(request: bytes) -> None:
        try:
            _, connection = await loop.create_connection(lambda: Connection(tally, idle), "127.0.0.1", port)
        except OSError:
            tally.other["refused"] = tally.other.get("refused", 0) + 1
            return
        connection.send(request)

    for moment, user in zip((start + due).tolist(), whose.tolist(), strict=True):
        wait = moment - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        elif len(tally.lateness) % 20 == 0:
            await asyncio.sleep(0)  # let answers in
        tally.lateness.append(max(time.perf_counter() - moment, 0.0))
        connection = None
        while idle and connection is None:
            candidate = idle.pop()
            connection = candidate if candidate.usable else None
        if connection is not None:
            connection.send(requests[user])
        elif opened < MAX_CONNECTIONS:
            opened += 1
            task = asyncio.create_task(open_and_send(requests[user]))
            opening.add(task)
            task.add_done_callback(opening.discard)
        else:
            tally.not_sent += 1
    await asyncio.sleep(min(STRAGGLERS_S, 1.0 + seconds / 10))
    return tally


async def closed_loop(port: int, clients: int, seconds: float, users: int) -> Tally:
    """What `clients` callers get that ask again once they are answered; one that is refused waits for 50 ms."""
    requests = [payload(user) for user in range(users)]
    tally = Tally()
    until = time.perf_counter() + seconds

    async def client(offset: int) -> None:
        idle: list[Connection] = []
        connection: Connection | None = None
        at = offset
        while time.perf_counter() < until:
            if connection is None or not connection.usable:  # at first, and when the server closed it
                connection = await _connect(port, tally, idle)
            refused = len(tally.shed)
            connection.send(requests[at % users])
            tally.lateness.append(0.0)
            at += clients
            while not idle and connection.usable:
                await connection.answered.wait()
                connection.answered.clear()
            idle.clear()
            if len(tally.shed) > refused:
                await asyncio.sleep(REFUSED_S)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return tally


async def _connect(port: int, tally: Tally, idle: list[Connection]) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(tally, idle), "127.0.0.1", port)
    return connection


def summary(tally: Tally, seconds: float) -> dict[str, object]:
    """The answers in figures."""
    return {
        "seconds": seconds,
        "sent_per_s": round((len(tally.lateness) - tally.not_sent) / seconds, 1),
        "admitted_per_s": round(len(tally.admitted) / seconds, 1),
        "shed_per_s": round(len(tally.shed) / seconds, 1),
        "admitted_ms": _percentiles(tally.admitted),
        "shed_ms": _percentiles(tally.shed),
        "lateness_ms": _percentiles(tally.lateness),
        "other": tally.other,
        "shed_without_retry_after": tally.without_retry_after,
        "not_sent": tally.not_sent,
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    values = np.percentile(np.array(seconds) * 1000, (50, 90, 99, 100))
    return dict(zip(("p50", "p90", "p99", "max"), (round(float(value), 2) for value in values), strict=True))


if __name__ == "__main__":
    to_port, per_second, duration, known_users = (float(text) for text in sys.argv[2:6])
    run = {"open": load, "closed": closed_loop}[sys.argv[1]]
    found = asyncio.run(run(int(to_port), int(per_second), duration, int(known_users)))
    print(json.dumps(summary(found, duration)))
