"""A load generator of events with little overhead: raw HTTP/1.1 over asyncio streams, one connection a client.

`python -m benchmarks.http_events PORT CLIENTS FILE` sends each line of FILE as one `POST /v1/events` and prints one
JSON object: events accepted per second, and latency percentiles in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEAD = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"


async def client(port: int, requests: Iterator[bytes], latencies: list[float]) -> int:
    """Send what is left, one request after the other; how many events were accepted.

    Raises RuntimeError for anything but a 202. A connection that was closed meanwhile is opened again: sending a batch
    twice is safe, and what the first sending stored is counted as a duplicate.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    accepted = 0
    for request in requests:
        start = time.perf_counter()
        while True:
            writer.write(request)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                break
            except (asyncio.IncompleteReadError, ConnectionResetError):
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 202"):
            raise RuntimeError((head + body).decode(errors="replace"))
        latencies.append(time.perf_counter() - start)
        accepted += json.loads(body)["accepted"]
    writer.close()
    return accepted


async def load(port: int, clients: int, bodies: list[bytes]) -> dict[str, float]:
    """Rate and latencies of `clients` callers at once that share `bodies`."""
    requests = iter([HEAD.format(len(body)).encode() + body for body in bodies])
    latencies: list[float] = []
    start = time.perf_counter()
    accepted = sum(await asyncio.gather(*(client(port, requests, latencies) for _ in range(clients))))
    seconds = time.perf_counter() - start
    p50, p99 = np.percentile(np.array(latencies) * 1000, (50, 99))
    return {
        "accepted": accepted,
        "events_per_s": round(accepted / seconds),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
    }


if __name__ == "__main__":
    port, clients, path = sys.argv[1:4]
    print(json.dumps(asyncio.run(load(int(port), int(clients), Path(path).read_bytes().splitlines()))))
