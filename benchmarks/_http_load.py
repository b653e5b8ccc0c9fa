"""A load generator with little overhead: raw HTTP/1.1 over asyncio streams, one connection a client.

`python -m benchmarks._http_load PORT CLIENTS SECONDS USERS` prints one JSON object: requests per second, and latency
percentiles in milliseconds measured at the client.
"""

import asyncio
import json
import sys
import time

import numpy as np

WARM_UP_S = 1.0


def payload(user: int) -> bytes:
    """One recommendation request of a user."""
    body = json.dumps({"user_id": f"user-{user:06d}", "count": 20}).encode()
    head = "POST /v1/recommendations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body


async def client(port: int, requests: list[bytes], until: float, latencies: list[float], since: float) -> None:
    """Send raw requests one after the other until the time is up. Raises RuntimeError for anything but a 200.

    A kept connection that was closed while idle is opened again, as every HTTP client does (HAProxy closes them when
    its configuration changes).
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = 0
    while time.perf_counter() < until:
        start = time.perf_counter()
        writer.write(requests[at % len(requests)])
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode(errors="replace"))
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        end = time.perf_counter()
        if start >= since:
            latencies.append(end - start)
        at += 1
    writer.close()


async def load(port: int, clients: int, seconds: float, requests: list[bytes]) -> dict[str, float]:
    """Requests per second and latencies of `clients` callers at once, each with the requests in an order of its own."""
    random = np.random.default_rng(clients)
    since = time.perf_counter() + WARM_UP_S
    until = since + seconds
    latencies: list[float] = []
    own = [[requests[at] for at in random.permutation(len(requests)).tolist()] for _ in range(clients)]
    await asyncio.gather(*(client(port, mine, until, latencies, since) for mine in own))
    p50, p90, p99 = np.percentile(np.array(latencies) * 1000, (50, 90, 99))
    return {
        "clients": clients,
        "requests_per_s": round(len(latencies) / seconds, 1),
        "p50_ms": round(float(p50), 3),
        "p90_ms": round(float(p90), 3),
        "p99_ms": round(float(p99), 3),
        "most_ms": round(max(latencies) * 1000, 3),
    }


if __name__ == "__main__":
    arguments = [float(text) for text in sys.argv[1:5]]
    made = [payload(user) for user in range(int(arguments[3]))]
    print(json.dumps(asyncio.run(load(int(arguments[0]), int(arguments[1]), arguments[2], made))))
