"""Batches and catalogues read from the database, in chunks of users that fit in memory."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from services.core.columns import ITEM_ID
from services.db.profiles import category_coverage, read_item_vectors, read_profile_items, read_signals
from services.profiles.catalogue import Catalogue, build_catalogue
from services.profiles.config import ProfileConfig
from services.profiles.events import COLUMNS, EventBatch, build_batch
from services.profiles.reference import ReferenceStatistics


def chunked(users: pa.Table, config: ProfileConfig) -> Iterator[tuple[list[str], int]]:
    """(user ids, number of events) of consecutive chunks, each within both bounds (one user alone may exceed them).

    `users` has the columns `user_id` and `events`.
    """
    ids = users.column("user_id").to_pylist()
    ends = np.cumsum(users.column("events").to_numpy())
    start = 0
    while start < len(ids):
        before = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, before + config.events_per_chunk, side="right"))
        end = min(max(fitting, start + 1), start + config.users_per_chunk)
        yield ids[start:end], int(ends[end - 1] - before)
        start = end


def whole_catalogue(connection: Connection, reference: ReferenceStatistics | None = None) -> Catalogue:
    """Every item of the shop, with the category coverage of `reference`, where it has one."""
    coverage = reference.category_coverage if reference is not None else None
    return build_catalogue(read_profile_items(connection), read_item_vectors(connection), coverage or None)


def catalogue_of(connection: Connection, events: pa.Table, reference: ReferenceStatistics | None = None) -> Catalogue:
    """The items that these events are on; category coverage is still the whole shop's."""
    return catalogue_of_items(connection, pc.drop_null(events.column(ITEM_ID)).unique().to_pylist(), reference)


def catalogue_of_items(
    connection: Connection, item_ids: Sequence[str], reference: ReferenceStatistics | None = None
) -> Catalogue:
    """These items; category coverage is still the whole shop's."""
    coverage = reference.category_coverage if reference is not None else None
    items, vectors = read_profile_items(connection, item_ids), read_item_vectors(connection, item_ids)
    return build_catalogue(items, vectors, coverage or category_coverage(connection))


def read_batch(
    connection: Connection,
    user_ids: Sequence[str],
    until: datetime,
    catalogue: Catalogue | None = None,
    reference: ReferenceStatistics | None = None,
) -> tuple[EventBatch, Catalogue]:
    """The users' events before `until`, against `catalogue` or that of the items they are on."""
    table = read_signals(connection, user_ids, until, COLUMNS)
    found = catalogue_of(connection, table, reference) if catalogue is None else catalogue
    return build_batch(table, found), found
