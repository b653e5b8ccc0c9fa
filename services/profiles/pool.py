"""Where neighbours come from: computed afresh in a full recompute, read from the feature tables for a few users."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse
from sqlalchemy import Connection

from services.db.profiles import stored_long_term
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import Taste, compute_taste
from services.profiles.config import ProfileConfig
from services.profiles.fold import fold_batch
from services.profiles.neighbours import NeighbourPool, liked_items
from services.profiles.reading import chunked, read_batch
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates, no_states


def empty_pool() -> NeighbourPool:
    """A pool in which nobody is found."""
    return NeighbourPool(pa.array([], pa.string()), np.zeros((0, 0), np.float32), "")


class PoolSource(Protocol):
    """A pool of users and what they like."""

    pool: NeighbourPool

    def likes(self, connection: Connection, rows: NDArray[np.int64]) -> tuple[sparse.csr_array, pa.Array]:
        """(p, n) shares of weight on the items that pool users like, filled in `rows` at least, and the n item ids."""
        ...


@dataclass(frozen=True)
class ComputedPool:
    """A pool with the likes (p, n) of all its users."""

    pool: NeighbourPool
    matrix: sparse.csr_array
    item_ids: pa.Array

    def likes(self, connection: Connection, rows: NDArray[np.int64]) -> tuple[sparse.csr_array, pa.Array]:
        return self.matrix, self.item_ids


@dataclass(frozen=True)
class StoredPool:
    """A pool whose vectors are stored; what its users like is computed from the events of those who are asked for."""

    pool: NeighbourPool
    reference: ReferenceStatistics
    config: ProfileConfig
    until: datetime

    def likes(self, connection: Connection, rows: NDArray[np.int64]) -> tuple[sparse.csr_array, pa.Array]:
        asked = self.pool.user_ids.take(pa.array(rows)).to_pylist()
        events, catalogue = read_batch(connection, asked, self.until)
        states = fold_batch(no_states(), events, catalogue, self.reference, self.config)
        held = compute_taste(states, catalogue, self.config).held
        found = liked_items(held, events.users, catalogue, self.config.pool_items).tocoo()
        pool_row = pc.index_in(events.user_ids, value_set=self.pool.user_ids).to_numpy()
        user, item = found.coords
        shape = (len(self.pool.user_ids), catalogue.count)
        return sparse.csr_array((found.data, (pool_row[user], item)), shape=shape), catalogue.item_ids


def computed_pool(
    tastes: Iterator[tuple[UserStates, Taste]], catalogue: Catalogue, config: ProfileConfig
) -> ComputedPool:
    """The pool of the users of some states who have a long-term vector."""
    ids, vectors, likes = [], [], []
    for states, taste in tastes:
        known = np.flatnonzero(taste.has_vector)
        ids.append(states.user_ids.take(pa.array(known)))
        vectors.append(taste.long_term[known].astype(np.float16))  # as stored, so that both pools find the same
        likes.append(liked_items(taste.held, states.users, catalogue, config.pool_items)[known])
    if not ids:
        return ComputedPool(empty_pool(), sparse.csr_array((0, catalogue.count)), catalogue.item_ids)
    joined = pa.concat_arrays(ids)
    order = pc.sort_indices(joined)  # ties of cosine go to the smaller user id, in every pool
    place = order.to_numpy()
    pool = NeighbourPool(joined.take(order), np.concatenate(vectors)[place].astype(np.float32), catalogue.space)
    return ComputedPool(pool, sparse.csr_array(sparse.vstack(likes))[place], catalogue.item_ids)


def everybodys_pool(
    connection: Connection,
    users: pa.Table,
    catalogue: Catalogue,
    until: datetime,
    reference: ReferenceStatistics,
    config: ProfileConfig,
) -> ComputedPool:
    """The pool of `users` (`user_id`, `events`), from their events before `until`."""

    def tastes() -> Iterator[tuple[UserStates, Taste]]:
        for ids, _ in chunked(users, config):
            events, _ = read_batch(connection, ids, until, catalogue)
            states = fold_batch(no_states(), events, catalogue, reference, config)
            yield states, compute_taste(states, catalogue, config)

    return computed_pool(tastes(), catalogue, config)


def stored_pool(
    connection: Connection, reference: ReferenceStatistics, config: ProfileConfig, until: datetime
) -> StoredPool:
    """The pool of the newest stored profiles. Of several vector spaces, as after a change of encoder, the largest."""
    table = stored_long_term(connection, config.pool_users)
    if not table.num_rows:
        return StoredPool(empty_pool(), reference, config, until)
    counts = table.column("space").value_counts().to_pylist()
    space = max(counts, key=lambda pair: (pair["counts"], pair["values"]))["values"]
    table = table.filter(pc.equal(table.column("space"), space)).sort_by("user_id").combine_chunks()
    data = b"".join(table.column("long_term").to_pylist())
    vectors = np.frombuffer(data, "<f2").reshape(table.num_rows, -1).astype(np.float32)
    ids = pa.concat_arrays(table.column("user_id").chunks).cast(pa.string())
    return StoredPool(NeighbourPool(ids, vectors, space), reference, config, until)
