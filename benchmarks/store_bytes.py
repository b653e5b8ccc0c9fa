"""What one user costs in the online store, everything included: simulated shoppers, fifty events each on average.

A simulated shop's events become portraits by a full recompute on embedded PostgreSQL, and all user views are written
to an embedded Valkey as `portrait features materialize --all` writes them. The figure is what Valkey's `used_memory`
grew by, a user. Sizes are linear in users but for the server's own table of keys, whose 8 bytes a slot double at powers
of two: `PORTRAIT_BENCH_USERS` (10,000) is how many are written, `PORTRAIT_BENCH_ITEMS` (5,000) what they shop among.
The yardstick is the same packed portraits under plain keys, without Feast, in the same server.

Bar: 1,800 bytes at a million users. Run: `python -m benchmarks.store_bytes`.
"""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import numpy as np
import redis
from sqlalchemy import Engine, text

from benchmarks._sizes import size
from benchmarks.recommendations_http import _home, _servers
from feature_repo import names
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.session import make_engine, transaction
from services.features.materialize import materialize
from services.features.offline.reader import OfflineReader
from services.features.online import OnlineWriter, open_store
from services.profiles.recompute import recompute_profiles
from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop

BAR = 1_800
END = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENTS_PER_USER, DIMENSION, SAMPLE = 50.0, 384, 2_000
USER_VIEWS = (names.USER_SERVING, names.USER_PROFILE, names.USER_AFFINITIES, names.USER_BEHAVIOUR)


def run() -> dict[str, Any]:
    """Bytes a user, and what they are made of."""
    users, items = int(size("USERS", 10_000, 1_000)), int(size("ITEMS", 5_000, 1_000))
    with _home() as home, ExitStack() as stack:
        addresses = _servers(home, stack)
        engine = make_engine(addresses.sqlalchemy_url)
        events = fill(engine, ShopConfig(end=END, users=users, items=items, events_per_user=EVENTS_PER_USER))
        started = time.process_time()
        report = recompute_profiles(engine, None, as_of=END).as_dict()
        recompute = {"processor_s": round(time.process_time() - started, 2), "steps_s": report["seconds"]}
        client = redis.Redis.from_url(addresses.redis_url)
        figures = _write_and_weigh(client, open_store(addresses), addresses)
        figures |= {"recompute": recompute, "postgres_bytes": _tables(engine)}
        engine.dispose()
    figure = figures.pop("bytes_a_user")
    return {
        "name": "store_bytes",
        "figure": figure,
        "bar": BAR,
        "holds": figure <= BAR,
        "figures": {"users": figures["keys"], "items": items, "events": events} | figures,
    }


def _write_and_weigh(client: redis.Redis, store: Any, addresses: Any) -> dict[str, Any]:
    writer, reader = OnlineWriter(addresses, store), OfflineReader(addresses, store)
    by_view, before = {}, _used(client)
    first = before
    for view in USER_VIEWS:
        materialize(reader, writer, everything=True, views=[view])
        by_view[view] = _used(client) - before
        before += by_view[view]
    keys = list(client.scan_iter(count=10_000))
    encodings: dict[str, int] = {}
    packed = []
    for key in keys[:SAMPLE]:
        encoding = client.object("encoding", key).decode()
        encodings[encoding] = encodings.get(encoding, 0) + 1
        packed.append(max(client.hvals(key), key=len))
    start = _used(client)
    pipe = client.pipeline(transaction=False)
    for number, value in enumerate(packed):
        pipe.set(f"plain-{number:08d}", value)
    pipe.execute()
    return {
        "bytes_a_user": round((before - first) / len(keys)),
        "keys": len(keys),
        "by_view": {view: round(size / len(keys)) for view, size in by_view.items()},
        "largest_value": round(float(np.mean([len(value) for value in packed]))),
        "plain_key_and_packed_value": round((_used(client) - start) / len(packed)),
        "encodings_of_sample": encodings,
    }


def _tables(engine: Engine) -> dict[str, int]:
    """Bytes of each table with its indexes, partitions under their parent's name; what is above a megabyte."""
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
        rows = connection.execute(
            text(
                "SELECT coalesce(p.inhparent::regclass::text, c.relname), sum(pg_total_relation_size(c.oid)) "
                "FROM pg_class c LEFT JOIN pg_inherits p ON p.inhrelid = c.oid "
                "WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace GROUP BY 1 ORDER BY 2 DESC"
            )
        ).all()
    return {name: int(size) for name, size in rows if size > 1_000_000}


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def fill(engine: Engine, config: ShopConfig) -> int:
    """The simulated shop's items, with vectors around their categories' centres, and events. How many events."""
    shop, random = SimulatedShop(config), np.random.default_rng(7)
    centres: dict[str, np.ndarray] = {}
    for frame in shop.items():
        leaves = [path[-1] for path in frame["categories"].to_list()]
        for leaf in set(leaves) - set(centres):
            centres[leaf] = random.standard_normal(DIMENSION)
        vectors = np.stack([centres[leaf] for leaf in leaves]) + 0.8 * random.standard_normal((len(leaves), DIMENSION))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with transaction(engine) as connection:
            upsert_items(connection, frame.to_arrow())
            ids = frame["item_id"].to_list()
            write_vectors(connection, "bench", ids, vectors.astype(np.float32), [["text"]] * len(ids), END)
    count = 0
    for frame in shop.events():
        with transaction(engine) as connection:
            insert_events(connection, frame.to_arrow())
        count += len(frame)
    return count


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
