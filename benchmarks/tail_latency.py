"""How far the slowest of a hundred recommendations lies from the middle one: 8 clients for a minute.

`POST /v1/recommendations`, 500 candidates of 12,000 items, the load generator on the same two cores. Bar: p99 over p50
≤ 3. Run: `python -m benchmarks.tail_latency`.
"""

import json
import os
from typing import Any

from benchmarks._gateway_shop import gateway_shop, load
from benchmarks._sizes import size

ITEMS, USERS, CLIENTS = 12_000, 1_000, 8
BAR = 3.0


def run() -> dict[str, Any]:
    """p99 over p50."""
    seconds = size("SECONDS", 60, 10)
    with gateway_shop(ITEMS, USERS) as shop:
        load(shop.port, CLIENTS, 5.0, USERS)  # to warm up
        found = load(shop.port, CLIENTS, seconds, USERS)
    figure = round(found["p99_ms"] / found["p50_ms"], 3)
    return {
        "name": "tail_latency",
        "figure": figure,
        "bar": BAR,
        "holds": figure <= BAR,
        "figures": found | {"seconds": seconds, "load_average": round(os.getloadavg()[0], 1)},
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
