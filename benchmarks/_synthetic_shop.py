"""A shop of any size for timings: clustered random vectors, a snapshot, and portraits that point into it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.names import BEHAVIOUR_FEATURES, ENGAGEMENT_FEATURES
from services.features.portrait import Interest, Portrait, PriceAffinity, RecentItem, pack_vector
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot, publish
from services.features.snapshot_tables import SnapshotTables

SPACE = "synthetic"
DIMENSION = 384
CLUSTERS = 200
NEIGHBOURS = 50
CHUNK = 65_536
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def synthetic_tables(items: int, seed: int = 7) -> SnapshotTables:
    """Tables of a shop with `items` items in 200 clusters; a cluster is a category."""
    random = np.random.default_rng(seed)
    cluster = random.integers(0, CLUSTERS, items)
    centres = random.standard_normal((CLUSTERS, DIMENSION)).astype(np.float32)
    vectors = np.empty((items, DIMENSION), "<f4")
    for start in range(0, items, CHUNK):
        part = slice(start, start + CHUNK)
        spread = random.standard_normal((len(vectors[part]), DIMENSION)).astype(np.float32)
        vectors[part] = centres[cluster[part]] + 0.8 * spread
        vectors[part] /= np.linalg.norm(vectors[part], axis=1, keepdims=True)
    ids = [f"item-{i:07d}" for i in range(items)]
    ages = random.exponential(200 * 86_400, items)
    published = [datetime.fromtimestamp(NOW.timestamp() - age, UTC) for age in ages.tolist()]
    catalogue = pa.table(
        {
            "item_id": ids,
            "title": [f"Product {i} of the line {c}" for i, c in enumerate(cluster.tolist())],
            "brand": [f"brand-{b}" for b in random.integers(0, 400, items).tolist()],
            "categories": [["Everything", f"Department {c % 20}", f"Shelf {c}"] for c in cluster.tolist()],
            "price": random.lognormal(3, 0.8, items),
            "currency": ["EUR"] * items,
            "attributes": [orjson.dumps({"colour": f"c{i % 12}"}).decode() for i in range(items)],
            "available": random.random(items) > 0.03,
            "published_at": pa.array(published, pa.timestamp("us", tz="UTC")),
        }
    )
    popularity = np.sort(random.random(items) ** 3)[::-1]
    engagement = {name: random.random(items).astype(np.float32) for name in ENGAGEMENT_FEATURES}
    engagement |= {
        "popularity": random.permutation(popularity).astype(np.float32),
        "trend": random.exponential(1, items),
    }
    near = random.integers(0, items, (items, NEIGHBOURS)).astype(np.int32)
    scores = np.sort(random.random((items, NEIGHBOURS)).astype(np.float32), axis=1)[:, ::-1]
    rows, texts = np.arange(items, dtype=np.int32), pa.array(ids)
    return SnapshotTables(
        items=catalogue,
        engagement=pa.table({"item_id": ids, **engagement}),
        vectors=pa.table(
            {
                "item_id": ids,
                "space": [SPACE] * items,
                "vector": vector_column(vectors),
            }
        ),
        co_engagement=pa.table(
            {
                "item_id": pa.DictionaryArray.from_arrays(np.repeat(rows, NEIGHBOURS), texts),
                "neighbour_id": pa.DictionaryArray.from_arrays(near.ravel(), texts),
                "score": scores.ravel(),
            }
        ),
    )


def vector_column(vectors: NDArray[np.float32]) -> pa.Array:
    """The rows (n, D) as an Arrow column of their bytes, without a copy."""
    ends = np.arange(len(vectors) + 1, dtype=np.int64) * vectors[0].nbytes
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(vectors), [None, pa.py_buffer(ends), pa.py_buffer(vectors)]
    )


def synthetic_snapshot(snapshots: Path, items: int = 12_000) -> ItemSnapshot:
    """Build, publish and open the snapshot."""
    snapshots.mkdir(parents=True, exist_ok=True)
    return ItemSnapshot.open(publish(snapshots, build_snapshot(synthetic_tables(items), snapshots, now=NOW)))


def synthetic_portraits(snapshot: ItemSnapshot, users: int = 1_000, seed: int = 11) -> list[Portrait]:
    """Portraits as full as they get: five interests, twenty affinities each, fifty recent items, sixty neighbours'."""
    random = np.random.default_rng(seed)
    return [_portrait(f"user-{u:06d}", snapshot, random) for u in range(users)]


def _portrait(user_id: str, snapshot: ItemSnapshot, random: np.random.Generator) -> Portrait:
    chosen = random.choice(snapshot.count, 200, replace=False)
    ids = [snapshot.item_ids[i] for i in chosen.tolist()]
    now = NOW.timestamp()
    long_term = snapshot.vectors[chosen[:30]].mean(axis=0)
    short_term = snapshot.vectors[chosen[:3]].mean(axis=0)
    names = [snapshot.categories_of(i) for i in chosen[:20].tolist()]
    shelves = tuple(dict.fromkeys(path[-1] for path in names))
    weights = np.sort(random.dirichlet(np.ones(len(shelves))))[::-1]
    brands = tuple(dict.fromkeys(snapshot.brand_names[c] for c in snapshot.brand[chosen[:20]].tolist()))
    types = ("view", "click", "cart", "purchase", "favourite")
    return Portrait(
        user_id=user_id,
        as_of=now,
        newest_event=now - 60,
        event_count=80,
        confidence=0.9,
        lifecycle="active",
        space=snapshot.space,
        long_term=pack_vector(long_term / np.linalg.norm(long_term)),
        short_term=pack_vector(short_term / np.linalg.norm(short_term)),
        interests=tuple(Interest(ids[k], 0.2, f"interest {k}", tuple(names[k]), ()) for k in range(5)),
        categories=tuple(zip(shelves, weights.tolist(), strict=True)),
        brands=tuple((brand, 1 / len(brands)) for brand in brands),
        price=PriceAffinity(20.0, 8.0, 60.0),
        behaviour=random.random(len(BEHAVIOUR_FEATURES)).astype("<f4").tobytes(),
        recent_items=tuple(RecentItem(ids[k], types[k % 5], now - 600 * k, 1 / (k + 1)) for k in range(50)),
        bought=tuple(ids[40:80]),
        hidden=tuple(ids[80:83]),
        neighbours=tuple((f"user-{int(n):06d}", 0.8) for n in random.integers(0, 1_000, 20)),
        neighbour_items=tuple((ids[k], 1 - k / 200) for k in range(100, 160)),
    )
