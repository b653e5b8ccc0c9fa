"""How fast the tail works off a backlog: 50,000 events of 2,000 users, committed at once while it was stopped.

Real PostgreSQL (durable) and Valkey, the tail in this process; the users have a history that is in their states. The
clock runs from the moment the tail takes its partitions until every portrait is current in both stores, which is then
checked by count. Bar on 2 cores: 5,000 events/s.

Run: `python -m benchmarks.tail_throughput`.
"""

import json
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine, text

from benchmarks.recommendations_http import _home, _servers
from services.core.addresses import Addresses
from services.core.live_keys import LONGEST_LEASE_S
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.leases import release, share_out
from services.db.session import make_engine, planner_for_the_tail, transaction
from services.features.online import OnlineReader, OnlineWriter
from services.profiles.reference_store import refit_reference
from services.profiles.tail import Tail

BAR = 5_000.0
USERS, ITEMS, DIMENSION = 2_000, 5_000, 384
HISTORY, BACKLOG, TRANSACTIONS = 40_000, 50_000, 10
KINDS = ("view", "view", "view", "click", "click", "search", "cart", "purchase", "rating")
SEED = 20261123
OWNER = "benchmark"


def run() -> dict[str, Any]:
    """Events a second until all portraits are current."""
    with _home() as home, ExitStack() as servers:
        addresses = _servers(home, servers)
        engine = make_engine(addresses.sqlalchemy_url, pool_size=TRANSACTIONS + 1)
        servers.callback(engine.dispose)
        _fill(engine)
        history, _ = _work_off(addresses)
        began = time.perf_counter()
        _commit_at_once(engine)
        committed = time.perf_counter() - began
        seconds, tail = _work_off(addresses)
        wrong = _not_current(engine, addresses)
    figure = round(BACKLOG / seconds, 1)
    return {
        "name": "tail_throughput",
        "figure": figure,
        "bar": BAR,
        "holds": figure >= BAR and not wrong,
        "figures": {
            "events": BACKLOG,
            "users": USERS,
            "seconds": round(seconds, 2),
            "ticks": tail.report.ticks,
            "users_rebuilt": tail.report.rebuilt,
            "portraits_not_current": wrong,
            "committing_the_backlog_s": round(committed, 2),
            "history_events_per_s": round(HISTORY / history, 1),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
    }


def _work_off(addresses: Addresses) -> tuple[float, Tail]:
    """Seconds that a fresh tail needs until there is nothing left to do."""
    engine = planner_for_the_tail(make_engine(addresses.sqlalchemy_url, pool_size=3))
    writer = OnlineWriter(addresses)
    began = time.perf_counter()
    tail = Tail(engine, writer, OWNER)
    with transaction(engine) as connection:
        tail.own(share_out(connection, OWNER, LONGEST_LEASE_S))
    while tail.step():
        pass
    seconds = time.perf_counter() - began
    with transaction(engine) as connection:
        release(connection, OWNER)
    engine.dispose()
    return seconds, tail


def _fill(engine: Engine) -> None:
    """Items with vectors, and a history of events over thirty days."""
    generator = np.random.default_rng(SEED)
    items = [f"i{n:05d}" for n in range(ITEMS)]
    vectors = generator.normal(size=(ITEMS, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    leaf = generator.integers(0, 200, ITEMS)
    rows = pa.table(
        {
            "item_id": items,
            "title": [f"Product {item}" for item in items],
            "brand": [f"Brand {b}" for b in generator.integers(0, 300, ITEMS)],
            "categories": [["Shop", f"Aisle {c // 20}", f"Shelf {c}"] for c in leaf],
            "price": np.exp(generator.normal(3.0, 0.8, ITEMS)),
        }
    )
    with transaction(engine) as connection:
        upsert_items(connection, rows)
        write_vectors(connection, "bench", items, vectors, [["text"]] * ITEMS, datetime.now(UTC) - timedelta(days=40))
        insert_events(connection, _events("h", HISTORY, timedelta(days=30), generator))
        refit_reference(connection, datetime.now(UTC))


def _commit_at_once(engine: Engine) -> None:
    """The backlog: open transactions side by side that end together."""
    generator = np.random.default_rng(SEED + 1)
    size = BACKLOG // TRANSACTIONS
    batches = [_events(f"b{n}-", size, timedelta(minutes=10), generator) for n in range(TRANSACTIONS)]

    def store(batch: pa.Table) -> None:
        with transaction(engine) as connection:
            insert_events(connection, batch)

    with ThreadPoolExecutor(TRANSACTIONS) as pool:
        list(pool.map(store, batches))


def _events(prefix: str, count: int, span: timedelta, generator: np.random.Generator) -> pa.Table:
    """Events of all users in order of time, of the last `span` but for the youngest second."""
    kinds = generator.choice(KINDS, count)
    ages = np.sort(generator.uniform(1.0, span.total_seconds(), count))[::-1]
    if span < timedelta(days=1):
        ages = ages / span.total_seconds()  # the backlog is younger than the whole history
    now = datetime.now(UTC)
    items = [f"i{int(ITEMS * draw**2):05d}" for draw in generator.random(count)]
    searched = kinds == "search"
    return pa.table(
        {
            "event_id": [f"{prefix}{n}" for n in range(count)],
            "user_id": [f"u{n:05d}" for n in generator.integers(0, USERS, count)],
            "item_id": pa.array(items, mask=searched),
            "type": kinds.tolist(),
            "timestamp": pa.array([now - timedelta(seconds=float(age)) for age in ages], pa.timestamp("us", tz="UTC")),
            "dwell_ms": pa.array(generator.integers(1_000, 60_000, count), pa.int64(), mask=kinds != "view"),
            "rating": pa.array(generator.integers(1, 6, count).astype(np.float32), mask=kinds != "rating"),
            "price": pa.array(np.full(count, 19.5), mask=~np.isin(kinds, ("cart", "purchase"))),
        }
    )


def _not_current(engine: Engine, addresses: Addresses) -> int:
    """How many users' online portraits do not count all their events."""
    with transaction(engine) as connection:
        counts = connection.execute(text("SELECT user_id, count(*) FROM events GROUP BY user_id")).all()
    found = OnlineReader(addresses).portraits([user for user, _ in counts])
    return sum(
        portrait is None or portrait.event_count != count for (_, count), portrait in zip(counts, found, strict=True)
    )


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
