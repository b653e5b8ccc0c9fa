"""What the learned models add to a request: the user's query vector and the ranker over 500 candidates, on one core.

Weights are random: the arithmetic is the same. Shapes are the defaults of `training.configs`. Bar: 3 ms at the median.
Run: `python -m benchmarks.learned_request`.
"""

import json
import time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._random_models import random_ranker, random_user_model
from services.features.transforms import FEATURES
from training.configs import run_config

CANDIDATES, REQUESTS = 500, 2_000
BAR_MS = 3.0


def run() -> dict[str, Any]:
    """Milliseconds of both together, and of each."""
    shape = run_config("default").user_model
    user, ranker = random_user_model(384, 1_000), random_ranker()
    rng = np.random.default_rng(0)
    history = rng.normal(size=(shape.length, shape.width)).astype(np.float32)
    types, times = rng.integers(1, 10, shape.length), np.cumsum(rng.exponential(1e4, shape.length))
    features = rng.random((CANDIDATES, len(FEATURES))).astype(np.float32)
    spent = []
    with threadpool_limits(1):
        for _ in range(REQUESTS):
            started = time.perf_counter()
            user.query(history, types, times)
            between = time.perf_counter()
            ranker.value(features)
            spent.append((between - started, time.perf_counter() - between))
    query, rank = 1_000 * np.array(spent[REQUESTS // 10 :]).T
    both = query + rank
    figure = round(float(np.median(both)), 3)
    return {
        "name": "learned_request",
        "figure": figure,
        "bar": BAR_MS,
        "holds": figure <= BAR_MS,
        "figures": {
            "p99_ms": round(float(np.quantile(both, 0.99)), 3),
            "query_p50_ms": round(float(np.median(query)), 3),
            "ranker_p50_ms": round(float(np.median(rank)), 3),
            "history": shape.length,
            "candidates": CANDIDATES,
        },
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
