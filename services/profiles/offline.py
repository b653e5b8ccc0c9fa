"""What the workers would have made of some events, made in memory: the inputs of an offline evaluation."""

import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.core import columns
from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot
from services.features.snapshot_tables import SnapshotTables
from services.profiles.assemble import assemble
from services.profiles.catalogue import Catalogue, build_catalogue
from services.profiles.chunk import ChunkProfiles, compute_chunk
from services.profiles.co_engagement import co_engagement_pairs
from services.profiles.config import ProfileConfig
from services.profiles.engagement import compute_engagement
from services.profiles.events import COLUMNS
from services.profiles.fold import fold
from services.profiles.neighbours import find_neighbours
from services.profiles.pool import ComputedPool, computed_pool
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_fit import fit_reference
from services.profiles.state import UserStates

_TYPES = {
    "position": pa.int32(),
    "dwell_ms": pa.int64(),
    "depth": pa.float32(),
    "price": pa.float64(),
    "rating": pa.float32(),
    "sentiment": pa.float32(),
}


def newest_time(events: pa.Table) -> datetime:
    """Time of the newest event."""
    return pc.max(events[columns.TIMESTAMP]).as_py().astimezone(UTC)


def offline_reference(events: pa.Table, items: pa.Table) -> ReferenceStatistics:
    """The reference statistics these events would give."""
    return fit_reference(_complete(events), items, as_of=newest_time(events))


def offline_serving(
    known: pa.Table, history: pa.Table, items: pa.Table, vectors: pa.Table
) -> tuple[ItemSnapshot, dict[str, Portrait], float]:
    """What the gateway would hold at the end of `history`: snapshot, portraits by user id, and that time.

    Statistics of the shop and of items come from `known`, the events that models may learn from.
    """
    as_of = newest_time(history)
    reference = offline_reference(known, items)
    with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
        snapshot = offline_snapshot(known, items, vectors, reference, Path(folder), as_of)
        snapshot.warm()  # maps what it needs: the files may go
    return snapshot, offline_portraits(history, items, vectors, reference, as_of), as_of.timestamp()


def offline_snapshot(
    events: pa.Table, items: pa.Table, vectors: pa.Table, reference: ReferenceStatistics, folder: Path, as_of: datetime
) -> ItemSnapshot:
    """The item snapshot of a shop with these events, built in `folder` and opened."""
    tables = SnapshotTables(
        items=items,
        engagement=compute_engagement([_complete(events)], as_of, reference, newest=newest_time(events)),
        vectors=vectors,
        co_engagement=co_engagement_pairs([events], items[columns.ITEM_ID].combine_chunks(), reference),
    )
    return ItemSnapshot.open(folder / build_snapshot(tables, folder, now=as_of))


def offline_portraits(
    events: pa.Table,
    items: pa.Table,
    vectors: pa.Table,
    reference: ReferenceStatistics,
    as_of: datetime,
    config: ProfileConfig | None = None,
    pool: ComputedPool | None = None,
) -> dict[str, Portrait]:
    """The portraits that a full recompute would write as of `as_of`, by user id.

    `pool`: where similar users are looked for (`offline_pool`); the users of `events` when None.
    """
    config = config or ProfileConfig()
    catalogue = build_catalogue(items, vectors)
    pairs = _computed(events, catalogue, reference, as_of, config)
    pool = pool or computed_pool(((some, part.taste) for some, part in pairs), catalogue, config)
    portraits = {}
    for some, part in pairs:
        near = find_neighbours(
            some, part.taste, catalogue.space, pool.pool, lambda _: (pool.matrix, pool.item_ids), config
        )
        made = assemble(some, part, near, catalogue, as_of.timestamp(), config)
        portraits |= {portrait.user_id: portrait for portrait in made}
    return portraits


def offline_pool(
    events: pa.Table, items: pa.Table, vectors: pa.Table, reference: ReferenceStatistics, as_of: datetime
) -> ComputedPool:
    """The pool of similar users that a full recompute as of `as_of` would draw from."""
    config, catalogue = ProfileConfig(), build_catalogue(items, vectors)
    pairs = _computed(events, catalogue, reference, as_of, config)
    return computed_pool(((some, part.taste) for some, part in pairs), catalogue, config)


def _computed(
    events: pa.Table, catalogue: Catalogue, reference: ReferenceStatistics, as_of: datetime, config: ProfileConfig
) -> list[tuple[UserStates, ChunkProfiles]]:
    chunks = _user_chunks(_complete(events), config)
    states = [fold(None, chunk, catalogue, reference, config) for chunk in chunks]
    return [(some, compute_chunk(some, catalogue, reference, as_of.timestamp(), config)) for some in states]


def _user_chunks(events: pa.Table, config: ProfileConfig) -> list[pa.Table]:
    """Whole users at a time; the events are sorted by user."""
    user = events[columns.USER_ID].combine_chunks()
    starts = np.flatnonzero(np.append(True, pc.not_equal(user[1:], user[:-1]).to_numpy(zero_copy_only=False)))
    cuts = [*starts[:: config.users_per_chunk].tolist(), len(user)]
    return [events.slice(low, high - low) for low, high in pairwise(cuts)]


def _complete(events: pa.Table) -> pa.Table:
    for name in COLUMNS:
        if name not in events.column_names:
            events = events.append_column(name, pa.nulls(len(events), _TYPES[name]))
    return events
