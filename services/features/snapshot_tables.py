"""The Arrow tables an item snapshot is built from, put into the snapshot's rows, codes and ranked lists."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.names import CREATED, ENGAGEMENT_FEATURES, EVENT_TIMESTAMP, ITEM_ID
from services.core.errors import InvalidInput
from services.features.arrow_columns import column, epoch_seconds, flat, numbers, rows_of
from services.features.neighbour_pairs import sorted_pairs

BOOKKEEPING = (EVENT_TIMESTAMP, CREATED, "updated_at")
"""Columns that say when a row was written: they are no part of a snapshot."""

PADDED_CATEGORIES = 8
CHUNK = 65_536
"""Rows that are worked on at a time."""
INITIAL_LOAD_S = 600.0
"""An item that came within this time of the catalogue's first one is part of its first load: its age is unknown."""


@dataclass(frozen=True)
class SnapshotTables:
    """`items`: the item columns, `attributes` as JSON text, `created_at` optional. `engagement`: item_id and
    `names.ENGAGEMENT_FEATURES`. `vectors`: item_id, space, vector (little-endian float32 bytes). `co_engagement`:
    item_id, neighbour_id, score in 0–1, ids as text or dictionary-encoded. One row an item in the first three; items of
    other tables that `items` lacks are left out. `space`: the vector space to use; the most common one when None.
    `extra`: by view name further numeric features of items, item_id and a column each (docs/features.md).
    """

    items: pa.Table
    engagement: pa.Table
    vectors: pa.Table
    co_engagement: pa.Table
    space: str | None = None
    extra: Mapping[str, pa.Table] = field(default_factory=dict)

    def sorted(self) -> "SnapshotTables":
        """The same rows in a fixed order, chunks combined: the build does not depend on the order of reading.

        Vectors are large binary, and the ids of pairs dictionary-encoded by the items'.
        """
        items = _sorted(self.items, ITEM_ID)
        vectors = self.vectors.select([ITEM_ID, "space", "vector"])
        return SnapshotTables(
            items=items,
            engagement=_sorted(self.engagement.select([ITEM_ID, *ENGAGEMENT_FEATURES]), ITEM_ID),
            vectors=_sorted(vectors.set_column(2, "vector", vectors["vector"].cast(pa.large_binary())), ITEM_ID),
            co_engagement=sorted_pairs(self.co_engagement, column(items, ITEM_ID).cast(pa.string())),
            space=self.space,
            extra={name: _sorted(table, ITEM_ID) for name, table in sorted(self.extra.items())},
        )

    def digest(self) -> str:
        """SHA-256 of the contents (of sorted tables), hexadecimal."""
        digest = hashlib.sha256("|".join((self.space or "", *self.extra)).encode())
        for table in (self.items, self.engagement, self.vectors, self.co_engagement, *self.extra.values()):
            plain = table.select(sorted(set(table.column_names) - set(BOOKKEEPING)))
            with pa.ipc.new_stream(_Hashed(digest), plain.schema.remove_metadata()) as writer:
                writer.write_table(plain.replace_schema_metadata(None), max_chunksize=CHUNK)
        return digest.hexdigest()


def last_of_each(indptr: NDArray[np.int64], codes: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """The last `width` codes of every row as a matrix, −1 padding."""
    ends = indptr[1:, None]
    at = ends - 1 - np.arange(width)
    held = at >= indptr[:-1, None]
    padded = np.append(codes, np.int32(-1))
    return np.where(held, padded[np.where(held, at, -1)], np.int32(-1)).astype(np.int32)


def attribute_lists(attributes: pa.Array) -> pa.Array:
    """Each item's attributes as a list of "key=value" texts, from JSON objects of scalars or lists of scalars.

    Distinct objects are parsed once. Values are spelt as filters spell them: `true`, `3` for 3.0.
    """
    encoded = attributes.cast(pa.string()).dictionary_encode()
    parsed = [_key_values(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(parsed, pa.list_(pa.string())).take(encoded.indices)


def matrix_of_vectors(tables: SnapshotTables, ids: pa.Array) -> tuple[str, NDArray[np.float32], NDArray[np.bool_]]:
    """The space, float32 (n, D) L2-normalised vectors in the order of `ids`, and which rows have one.

    Raises:
        InvalidInput: vectors of one space have different sizes.
    """
    spaces = tables.vectors["space"]
    space = tables.space if tables.space is not None else _most_common(spaces)
    rows = _where(tables.vectors, pc.equal(spaces, space)) if space else tables.vectors.slice(0, 0)
    at = rows_of(ids, column(rows, ITEM_ID))
    rows, at = _where(rows, pa.array(at >= 0)), at[at >= 0]
    ends, data = flat(column(rows, "vector").cast(pa.large_binary()))
    sizes = np.diff(ends)
    if sizes.size and (sizes.min() != sizes.max() or sizes[0] % 4):
        raise InvalidInput(f"Item vectors of space {space} differ in length: recompute the embeddings")
    dimension = int(sizes[0]) // 4 if sizes.size else 0
    vectors = np.zeros((len(ids), dimension), np.float32)
    if sizes.size:
        vectors[at] = data.view("<f4").reshape(-1, dimension)
    return space or "", vectors, _normalise(vectors)


def _normalise(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Divide each by its length, in place; which had one, bool (n,). The others become zero."""
    usable = np.empty(len(vectors), bool)
    for start in range(0, len(vectors), CHUNK):
        part = vectors[start : start + CHUNK]
        norms = np.linalg.norm(part, axis=1)
        good = usable[start : start + CHUNK] = np.isfinite(norms) & (norms > 1e-6)
        part[~good] = 0
        np.divide(part, norms[:, None], out=part, where=good[:, None])
    return usable


def engagement_matrix(tables: SnapshotTables, ids: pa.Array) -> NDArray[np.float32]:
    """float32 (n, len(ENGAGEMENT_FEATURES)), NaN for what is not known."""
    at = rows_of(ids, column(tables.engagement, ITEM_ID))
    values = np.full((len(ids), len(ENGAGEMENT_FEATURES)), np.nan, np.float32)
    for position, name in enumerate(ENGAGEMENT_FEATURES):
        values[at[at >= 0], position] = numbers(tables.engagement, name, np.float32)[at >= 0]
    return values


def extra_matrix(tables: SnapshotTables, ids: pa.Array) -> tuple[list[str], NDArray[np.float32]]:
    """Names `view:feature` and values float32 (n, E), NaN for what is not known."""
    found: dict[str, NDArray[np.float32]] = {}
    for view, table in tables.extra.items():
        at = rows_of(ids, column(table, ITEM_ID))
        for name in sorted(part.name for part in table.schema if _numeric(part.type)):
            values = np.full(len(ids), np.nan, np.float32)
            values[at[at >= 0]] = numbers(table, name, np.float32)[at >= 0]
            found[f"{view}:{name}"] = values
    matrix = np.column_stack(list(found.values())) if found else np.empty((len(ids), 0), np.float32)
    return list(found), matrix


def publication_times(items: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When each item was published, NaN unknown; and by what new arrivals are ordered (epoch seconds).

    An item without `published_at` counts as published when it came into the catalogue, unless it came with the first
    load. New arrivals are ordered by `published_at`, else by when the item came.
    """
    published, created = epoch_seconds(items, "published_at"), epoch_seconds(items, "created_at")
    known = created[np.isfinite(created)]
    first_load = known.min() + INITIAL_LOAD_S if known.size else np.inf
    arrived = np.where(created > first_load, created, np.nan)
    return np.where(np.isnan(published), arrived, published), np.where(np.isnan(published), created, published)


def _numeric(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _sorted(table: pa.Table, key: str) -> pa.Table:
    keys = column(table, key)
    ordered = pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py() if len(keys) > 1 else True
    return (table if ordered else table.sort_by(key)).combine_chunks()


def _where(table: pa.Table, mask: pa.ChunkedArray | pa.Array) -> pa.Table:
    """The rows where the mask is true; the table itself where it always is."""
    return table if pc.all(mask).as_py() else table.filter(mask)


class _Hashed(io.RawIOBase):
    """A file that is a digest of what is written."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)


def _most_common(values: pa.ChunkedArray) -> str | None:
    counted = sorted((-c["counts"], c["values"]) for c in pc.value_counts(values).to_pylist() if c["values"])
    return counted[0][1] if counted else None


def _key_values(text: str | None) -> list[str]:
    pairs = orjson.loads(text) if text else {}
    found = []
    for key, value in sorted(pairs.items()):
        for scalar in value if isinstance(value, list) else [value]:
            if scalar is not None and not isinstance(scalar, dict | list):
                found.append(f"{key}={_spelt(scalar)}")
    return found


def _spelt(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
