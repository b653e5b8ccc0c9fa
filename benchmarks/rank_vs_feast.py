"""Ranking 500 candidates end to end against Feast reading the same 500 items from the same online store.

Ours is `POST /v1/rank` over HTTP: the portrait, 500 items' features, the ranker, 500 rows of JSON. The yardstick is
`get_online_features` of the items' engagement features in this process, without HTTP, user or ranking. Both alternate.

Bars: ten times faster at p50 and at p99. Run: `python -m benchmarks.rank_vs_feast`.
"""

import gc
import json
import os
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._gateway_shop import Caller, GatewayShop, gateway_shop, percentiles, post
from benchmarks._sizes import size
from feature_repo import names
from services.features.online import OnlineWriter, open_store

ITEMS, USERS, CANDIDATES = 12_000, 1_000, 500
BAR = 10.0


def run() -> dict[str, Any]:
    """How many times faster, at the median; the other percentile is in the figures."""
    rounds = int(size("ROUNDS", 300, 60))
    with gateway_shop(ITEMS, USERS) as shop:
        store, features = open_store(shop.addresses), _write_items(shop)
        random, caller = np.random.default_rng(3), Caller(shop.port)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(-20, rounds):
            if number == 0:
                ours, theirs = [], []  # what was before was warm-up
                gc.collect()
                gc.freeze()
            chosen = [shop.snapshot.item_ids[i] for i in random.choice(ITEMS, CANDIDATES, replace=False).tolist()]
            body = {"user_id": shop.users[number % USERS], "item_ids": chosen}
            ours += [caller.seconds(post("/v1/rank", body)) for _ in range(3)]
            theirs.append(_feast(store, features, chosen))
    own, feast = percentiles(ours), percentiles(theirs)
    p50, p99 = (round(feast[p] / own[p], 2) for p in ("p50_ms", "p99_ms"))
    return {
        "name": "rank_vs_feast",
        "figure": p50,
        "bar": BAR,
        "holds": p50 >= BAR and p99 >= BAR,
        "figures": {
            "p99": {"figure": p99, "bar": BAR},
            "ours": own,
            "feast": feast,
            "features_read": len(features),
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


def _write_items(shop: GatewayShop) -> list[str]:
    """Write all items' engagement features online; the names to ask for."""
    random, count = np.random.default_rng(5), shop.snapshot.count
    columns = {name: random.random(count).astype(np.float32) for name in names.ENGAGEMENT_FEATURES}
    times = pa.array([datetime.now(UTC)] * count, pa.timestamp("us", tz="UTC"))
    table = pa.table({names.ITEM_ID: list(shop.snapshot.item_ids), names.EVENT_TIMESTAMP: times, **columns})
    OnlineWriter(shop.addresses).write_view(names.ITEM_ENGAGEMENT, table)
    return [f"{names.ITEM_ENGAGEMENT}:{name}" for name in names.ENGAGEMENT_FEATURES]


def _feast(store: Any, features: list[str], items: list[str]) -> float:
    started = time.perf_counter()
    found = store.get_online_features(features=features, entity_rows=[{names.ITEM_ID: item} for item in items])
    values = found.to_dict()
    spent = time.perf_counter() - started
    assert values["popularity"][0] is not None, "the items were not found"
    return spent


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
