"""What keeping item engagement up to date costs: a tick of 100 new events beside 12,000 and 100,000 items.

Real PostgreSQL (durable) and Valkey, the tail of item engagement in this process. Every item has a history; each tick
finds 100 new events, a fifth of which are of items that the shop's taste favours. Bar: beside 100,000 items a tick
takes at most half a second, or else the thread, which rests four times as long, could not keep its pace of two seconds.
The same run says what the full recompute from all events takes that a tick saves.

The same run measures what finding events by time and by pair costs inserts: rows a second with the indexes of migration
0003 and with the one that they replaced.

Run: `python -m benchmarks.engagement_ticks`.
"""

import json
import resource
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine, text

from benchmarks.recommendations_http import _home, _servers
from services.db.events import insert_events
from services.db.pending_items import count_pending_items
from services.db.session import make_engine, transaction
from services.features.online import OnlineWriter
from services.profiles.engagement_drift import engagement_drift
from services.profiles.engagement_tail import EngagementTail
from services.profiles.reference_store import refit_reference

BAR = 0.5
SHOPS = {12_000: 120_000, 100_000: 500_000}
"""Events in the history, by items."""

ONLINE_ROWS = 2_000
"""As in the worker."""

NEW, TICKS, USERS = 100, 20, 20_000
KINDS = ("view", "view", "view", "click", "click", "cart", "purchase", "rating")
BATCH, BATCHES = 5_000, 8
OLD_INDEXES = (
    "DROP INDEX ix_events_timestamp; DROP INDEX ix_events_item_id_user_id; "
    "CREATE INDEX ix_events_item_id ON events (item_id)"
)
NEW_INDEXES = (
    "DROP INDEX ix_events_item_id; CREATE INDEX ix_events_item_id_user_id ON events (item_id, user_id); "
    "CREATE INDEX ix_events_timestamp ON events (timestamp) WHERE item_id IS NOT NULL"
)


def run() -> dict[str, Any]:
    """How long a tick takes beside the most items, and all else in seconds."""
    figures: dict[str, Any] = {}
    with _home() as home, ExitStack() as servers:
        addresses = _servers(home, servers)
        engine = make_engine(addresses.sqlalchemy_url)
        servers.callback(engine.dispose)
        writer = OnlineWriter(addresses)
        for items, events in SHOPS.items():
            figures[f"{items}_items"] = _shop(engine, writer, items, events)
        figures["inserts"] = _inserts(engine)
    figures["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    figure = figures[f"{max(SHOPS)}_items"]["tick_s"]
    drifted = sum(figures[f"{items}_items"]["drifted"] for items in SHOPS)
    holds = figure <= BAR and not drifted
    return {"name": "engagement_ticks", "figure": figure, "bar": BAR, "holds": holds, "figures": figures}


def _shop(engine: Engine, writer: OnlineWriter, items: int, events: int) -> dict[str, float]:
    generator = np.random.default_rng(items)
    with transaction(engine) as connection:
        connection.execute(text("TRUNCATE events, event_keys, item_states, item_engagement, pending_items"))
        connection.execute(text("UPDATE item_tail SET snapshot = '1:1:', as_of = NULL, ticks = ticks + 1"))
        insert_events(connection, _events("h", events, items, 30.0, generator))
        refit_reference(connection, datetime.now(UTC))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE events"))
    tail = EngagementTail(engine, writer, owner="benchmark", online_rows=ONLINE_ROWS)
    first, filling = tail.tick(datetime.now(UTC)), []
    while _waiting(engine):
        filling.append(tail.tick(datetime.now(UTC)).seconds)
    reports, processor = [], []
    for n in range(TICKS):
        with transaction(engine) as connection:
            insert_events(connection, _events(f"n{n}-", NEW, items, 1e-5, generator))
        began = time.process_time()
        reports.append(tail.tick(datetime.now(UTC)))
        processor.append(time.process_time() - began)
    idle = [tail.tick(datetime.now(UTC)).seconds for _ in range(TICKS)]
    taken_over = EngagementTail(engine, writer, owner="another").tick(datetime.now(UTC))
    began = time.perf_counter()
    drift = engagement_drift(engine)
    full = time.perf_counter() - began
    return {
        "first_tick_s": first.seconds,
        "filling_ticks": len(filling),
        "filling_tick_s": _median(filling),
        "tick_s": _median([report.seconds for report in reports]),
        "slowest_tick_s": max(report.seconds for report in reports),
        "tick_processor_s": _median(processor),
        "items_written_a_tick": _median([report.published for report in reports]),
        "events_that_left_a_window_a_tick": _median([report.left for report in reports]),
        "idle_tick_s": _median(idle),
        "taking_over_s": taken_over.seconds,
        "full_recompute_s": round(full, 3),
        "items": drift.items,
        "drifted": drift.drifted,
    }


def _waiting(engine: Engine) -> int:
    with transaction(engine) as connection:
        return sum(count_pending_items(connection).values())


def _inserts(engine: Engine) -> dict[str, float]:
    """Rows a second with the indexes that engagement needs and without, turn by turn on the same log."""
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    generator = np.random.default_rng(1)
    for turn in range(BATCHES):
        for kind, change in (("without", OLD_INDEXES), ("with", NEW_INDEXES)):
            with transaction(engine) as connection:
                connection.exec_driver_sql(change)
            batch = _events(f"i{turn}{kind}", BATCH, 12_000, 0.01, generator)
            began = time.perf_counter()
            with transaction(engine) as connection:
                insert_events(connection, batch)
            seconds[kind].append(time.perf_counter() - began)
    return {f"rows_per_s_{kind}": round(BATCH / float(np.median(taken))) for kind, taken in seconds.items()}


def _events(prefix: str, count: int, items: int, days: float, generator: np.random.Generator) -> pa.Table:
    """Events of the last `days`, four fifths of them anywhere, the rest on favoured items."""
    favoured = generator.random(count) < 0.2
    chosen = np.where(favoured, items * generator.random(count) ** 3, items * generator.random(count)).astype(int)
    if count >= items:
        chosen[:items] = np.arange(items)
    kinds, now = generator.choice(KINDS, count), datetime.now(UTC)
    ages = generator.uniform(0.0, days * 86_400, count)
    return pa.table(
        {
            "event_id": [f"{prefix}{n}" for n in range(count)],
            "user_id": [f"u{n:05d}" for n in generator.integers(0, USERS, count)],
            "item_id": [f"i{n:06d}" for n in chosen],
            "type": kinds.tolist(),
            "timestamp": pa.array([now - timedelta(seconds=float(age)) for age in ages], pa.timestamp("us", tz="UTC")),
            "rating": pa.array(generator.integers(1, 6, count).astype(np.float32), mask=kinds != "rating"),
        }
    )


def _median(values: list[Any]) -> float:
    return round(float(np.median(values)), 4)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
