"""A shop's events, catalogue and item vectors as a whole: what training and offline evaluation read."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Engine

from services.core import columns
from services.core.errors import NotReady
from services.db.events import STORED_COLUMNS, read_events
from services.db.items import read_items
from services.db.profiles import read_item_vectors
from services.db.session import transaction
from services.profiles.places import places

EVENT_COLUMNS = tuple(name for name in STORED_COLUMNS if name not in ("text", "query", "received_at", "txid"))


@dataclass(frozen=True)
class EvaluationData:
    """`events` and `items` in canonical columns, items in order of id; `vectors` (items, D) float32 with unit or zero
    rows, None where there is nothing to encode."""

    source: str
    events: pa.Table
    items: pa.Table
    vectors: NDArray[np.float32] | None
    space: str

    @property
    def item_ids(self) -> pa.Array:
        return self.items[columns.ITEM_ID].combine_chunks()

    def vector_table(self) -> pa.Table:
        """The vectors as table `item_vectors` holds them: `item_id`, `space`, `vector`; none for zero rows."""
        matrix = np.zeros((self.items.num_rows, 0), np.float32) if self.vectors is None else self.vectors
        known = np.flatnonzero(np.any(matrix != 0, axis=1))
        data = pa.array([row.tobytes() for row in matrix[known].astype("<f4")], pa.binary())
        ids = self.item_ids.take(pa.array(known))
        return pa.table(
            {columns.ITEM_ID: ids, "space": pa.array([self.space] * len(known), pa.string()), "vector": data}
        )


def stored_data(engine: Engine) -> EvaluationData:
    """Events of users who did not refuse personalisation, catalogue and the fused vectors of a database."""
    with transaction(engine) as connection:
        events = read_events(connection, columns=EVENT_COLUMNS, ordered=True, consenting=True)
        items, stored = read_items(connection), read_item_vectors(connection)
    if not events.num_rows:
        raise NotReady("The database holds no events: import some, or name files with --events and --items")
    vectors, space = _stored_vectors(items, stored)
    return EvaluationData("the running stack", events, items, vectors, space)


def _stored_vectors(items: pa.Table, stored: pa.Table) -> tuple[NDArray[np.float32] | None, str]:
    """The vectors of the most common space, in the items' order."""
    if not stored.num_rows:
        return None, ""
    counts = stored["space"].value_counts().to_pylist()
    space = max(counts, key=lambda pair: (pair["counts"], pair["values"]))["values"]
    stored = stored.filter(pc.equal(stored["space"], space))
    matrix = np.frombuffer(b"".join(stored["vector"].to_pylist()), "<f4").reshape(stored.num_rows, -1)
    rows = places(stored[columns.ITEM_ID], items[columns.ITEM_ID])
    vectors = np.zeros((items.num_rows, matrix.shape[1]), np.float32)
    vectors[rows[rows >= 0]] = matrix[rows >= 0]
    return vectors, space
