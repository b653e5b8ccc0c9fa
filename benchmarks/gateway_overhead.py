"""What HTTP, HAProxy and Ray Serve add to the pipeline: rates at 8 clients, and the median at one client.

`POST /v1/recommendations`, 500 candidates of 12,000 items. The yardstick is the same pipeline called in a loop in one
process: the read of the portrait, the list, its answer as JSON. Rounds of both alternate, so that other load on the
machine meets both; the medians of the rounds are compared. The no-op endpoint is `GET /healthz`, through the same way.

Bars: requests/s over calls/s ≥ 0.7; p50 at one client over (no-op p50 + pipeline p50) ≤ 1.25. The load generator runs
on the same two cores. Run: `python -m benchmarks.gateway_overhead`.
"""

import json
import os
from statistics import median
from typing import Any

from benchmarks._gateway_shop import Caller, gateway_shop, get, load, percentiles, pipeline_call, post, timed
from benchmarks._sizes import size

ITEMS, USERS, CLIENTS = 12_000, 1_000, 8
RATE_BAR, LATENCY_BAR = 0.7, 1.25


def run() -> dict[str, Any]:
    """The ratio of the rates, and that of the medians."""
    seconds, rounds = size("SECONDS", 8, 2), 3
    with gateway_shop(ITEMS, USERS) as shop:
        call, caller = pipeline_call(shop), Caller(shop.port)
        load(shop.port, CLIENTS, 3.0, USERS)  # to warm up
        noop, alone, single = [], [], []
        for start in range(0, USERS, 50):
            users = shop.users[start : start + 50]
            noop += [caller.seconds(get("/healthz")) for _ in users]
            alone += timed(call, users)
            single += [caller.seconds(post("/v1/recommendations", {"user_id": user})) for user in users]
        calls, requests = [], []
        for _ in range(rounds):
            spent = timed(call, shop.users)
            calls.append(len(spent) / sum(spent))
            requests.append(load(shop.port, CLIENTS, seconds, USERS))
    rate = round(median(r["requests_per_s"] for r in requests) / median(calls), 3)
    at_one, nothing, pipeline = percentiles(single), percentiles(noop), percentiles(alone)
    latency = round(at_one["p50_ms"] / (nothing["p50_ms"] + pipeline["p50_ms"]), 3)
    return {
        "name": "gateway_overhead",
        "figure": rate,
        "bar": RATE_BAR,
        "holds": rate >= RATE_BAR and latency <= LATENCY_BAR,
        "figures": {
            "latency_ratio": {"figure": latency, "bar": LATENCY_BAR},
            "one_client": at_one,
            "no_op": nothing,
            "pipeline": pipeline,
            "pipeline_calls_per_s": [round(rate, 1) for rate in calls],
            "eight_clients": requests,
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
