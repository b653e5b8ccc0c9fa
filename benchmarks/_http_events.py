"""A load generator of events with little overhead: raw HTTP/1.1 over asyncio streams, one connection a client.

`python -m benchmarks._http_events PORT CLIENTS FILE` sends each line of FILE as one `POST /v1/events` and prints one
JSON object: events accepted per second, latency percentiles in milliseconds, and how often it was told to come back.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HEAD = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


@dataclass
class Seen:
    """What the clients of one run saw."""

    accepted: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list)


async def client(port: int, requests: Iterator[bytes], seen: Seen) -> None:
    """Send what is left, one request after the other, each until it is accepted.

    A connection that was closed meanwhile is opened again: sending a batch twice is safe, and what the first sending
    stored is counted as a duplicate. Raises RuntimeError for anything but a 202 or a 503.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        start = time.perf_counter()
        while True:
            writer.write(request)
            try:
                head, body = await _answer(reader)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            if head.startswith(b"HTTP/1.1 202"):
                break
            if not head.startswith(b"HTTP/1.1 503"):
                raise RuntimeError((head + body).decode(errors="replace"))
            seen.refused += 1
            await asyncio.sleep(float(_header(head, b"retry-after")))
        seen.latencies.append(time.perf_counter() - start)
        seen.accepted += json.loads(body)["accepted"]
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(int(_header(head, b"content-length")))


def _header(head: bytes, name: bytes) -> bytes:
    return head.lower().partition(name + b": ")[2].split(b"\r\n", 1)[0]


async def load(port: int, clients: int, bodies: list[bytes]) -> dict[str, float]:
    """Rate and latencies of `clients` callers at once that share `bodies`."""
    requests = iter([HEAD.format(len(body)).encode() + body for body in bodies])
    seen = Seen()
    start = time.perf_counter()
    await asyncio.gather(*(client(port, requests, seen) for _ in range(clients)))
    seconds = time.perf_counter() - start
    p50, p99 = np.percentile(np.array(seen.latencies) * 1000, (50, 99))
    return {
        "accepted": seen.accepted,
        "refused": seen.refused,
        "events_per_s": round(seen.accepted / seconds),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
    }


if __name__ == "__main__":
    port, clients, path = sys.argv[1:4]
    print(json.dumps(asyncio.run(load(int(port), int(clients), Path(path).read_bytes().splitlines()))))
