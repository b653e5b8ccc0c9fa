"""The Arrow tables an item snapshot is built from, put into the snapshot's rows, codes and ranked lists."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.names import CREATED, ENGAGEMENT_FEATURES, EVENT_TIMESTAMP, ITEM_ID
from services.core.errors import InvalidInput

NEIGHBOUR_ID = "neighbour_id"
BOOKKEEPING = (EVENT_TIMESTAMP, CREATED, "updated_at")
"""Columns that say when a row was written: they are no part of a snapshot."""

NEIGHBOURS = 50
PADDED_CATEGORIES = 8
INITIAL_LOAD_S = 600.0
"""An item that came within this time of the catalogue's first one is part of its first load: its age is unknown."""


@dataclass(frozen=True)
class SnapshotTables:
    """`items`: the item columns, `attributes` as JSON text, `created_at` optional. `engagement`: item_id and
    `names.ENGAGEMENT_FEATURES`. `vectors`: item_id, space, vector (little-endian float32 bytes). `co_engagement`:
    item_id, neighbour_id, score in 0–1. One row an item in the first three; items of other tables that `items` lacks
    are left out. `space`: the vector space to use; the most common one when None. `extra`: by view name further numeric
    features of items, item_id and a column each (docs/features.md).
    """

    items: pa.Table
    engagement: pa.Table
    vectors: pa.Table
    co_engagement: pa.Table
    space: str | None = None
    extra: Mapping[str, pa.Table] = field(default_factory=dict)

    def sorted(self) -> "SnapshotTables":
        """The same rows in a fixed order, chunks combined: the build does not depend on the order of reading."""
        return SnapshotTables(
            items=_sorted(self.items, ITEM_ID),
            engagement=_sorted(self.engagement.select([ITEM_ID, *ENGAGEMENT_FEATURES]), ITEM_ID),
            vectors=_sorted(self.vectors.select([ITEM_ID, "space", "vector"]), ITEM_ID),
            co_engagement=_sorted(
                self.co_engagement.select([ITEM_ID, "neighbour_id", "score"]), ITEM_ID, "neighbour_id"
            ),
            space=self.space,
            extra={name: _sorted(table, ITEM_ID) for name, table in sorted(self.extra.items())},
        )

    def digest(self) -> str:
        """SHA-256 of the contents (of sorted tables), hexadecimal."""
        digest = hashlib.sha256("|".join((self.space or "", *self.extra)).encode())
        for table in (self.items, self.engagement, self.vectors, self.co_engagement, *self.extra.values()):
            plain = table.select(sorted(set(table.column_names) - set(BOOKKEEPING)))
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, plain.schema.remove_metadata()) as writer:
                writer.write_table(plain.replace_schema_metadata(None))
            digest.update(sink.getvalue())
        return digest.hexdigest()


def text_column(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets int64 (n + 1,) and UTF-8 bytes of an Arrow text array; null becomes empty."""
    text = pc.fill_null(array.cast(pa.large_string()), "")
    if text.offset:
        text = pa.concat_arrays([text])
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int64)[: len(text) + 1] if len(text) else np.zeros(1, np.int64)
    return ends - ends[0], np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)


def rows_of(ids: pa.Array, wanted: pa.Array) -> NDArray[np.int32]:
    """The row in `ids` of each wanted id, −1 where there is none."""
    found = pc.index_in(wanted.cast(pa.string()), value_set=ids)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int32)


def numbers(table: pa.Table, name: str, dtype: type[np.floating]) -> NDArray:
    """A numeric column, NaN where null."""
    return column(table, name).cast(pa.float64()).to_numpy(zero_copy_only=False).astype(dtype)


def epoch_seconds(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A timestamp column as epoch seconds, NaN where null or absent."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    micros = column(table, name).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return micros.cast(pa.float64()).to_numpy(zero_copy_only=False) / 1e6


def coded(values: pa.Array) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct values in ascending order, and each value's code; −1 for null."""
    names = pc.unique(values).drop_null().cast(pa.string())
    names = names.take(pc.sort_indices(names))
    return names, rows_of(names, values)


def lists_csr(lists: pa.Array) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.int32]]:
    """Names, CSR row pointers and codes of a list-of-text column. A value twice in a list counts once."""
    if not len(lists):
        return pa.array([], pa.string()), np.zeros(1, np.int64), np.empty(0, np.int32)
    lists = lists.cast(pa.list_(pa.string()))
    parents = pc.list_parent_indices(lists).to_numpy()
    names, codes = coded(pc.list_flatten(lists))
    keep = codes >= 0
    parents, codes = parents[keep], codes[keep]
    _, first = np.unique(parents.astype(np.int64) * max(len(names), 1) + codes, return_index=True)
    first.sort()
    parents, codes = parents[first], codes[first]
    counts = np.bincount(parents, minlength=len(lists))
    return names, np.concatenate(([0], counts.cumsum())), codes


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
    rows = tables.vectors.filter(pc.equal(spaces, space)) if space else tables.vectors.slice(0, 0)
    at = rows_of(ids, column(rows, ITEM_ID))
    rows, at = rows.filter(pa.array(at >= 0)), at[at >= 0]
    raw = column(rows, "vector").cast(pa.large_binary())
    sizes = pc.binary_length(raw).to_numpy(zero_copy_only=False)
    if sizes.size and (sizes.min() != sizes.max() or sizes[0] % 4):
        raise InvalidInput(f"Item vectors of space {space} differ in length: recompute the embeddings")
    dimension = int(sizes[0]) // 4 if sizes.size else 0
    vectors = np.zeros((len(ids), dimension), np.float32)
    if sizes.size:
        vectors[at] = np.frombuffer(b"".join(raw.to_pylist()), "<f4").reshape(-1, dimension)
    norms = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(norms) & (norms > 1e-6)
    vectors[~usable] = 0
    vectors[usable] /= norms[usable, None]
    return space or "", vectors, usable


def neighbour_matrix(tables: SnapshotTables, ids: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The strongest neighbours of each item int32 (n, K), −1 padding, and their scores (n, K), descending."""
    pairs = tables.co_engagement
    left, right = rows_of(ids, column(pairs, ITEM_ID)), rows_of(ids, column(pairs, NEIGHBOUR_ID))
    score = np.clip(numbers(pairs, "score", np.float32), 0, 1)
    keep = (left >= 0) & (right >= 0) & (left != right) & (score > 0)
    left, right, score = left[keep], right[keep], score[keep]
    order = np.lexsort((right, -score, left))
    left, right, score = left[order], right[order], score[order]
    starts = np.searchsorted(left, np.arange(len(ids)))
    rank = np.arange(left.size) - starts[left]
    width = int(min(rank.max(initial=-1) + 1, NEIGHBOURS))
    keep = rank < width
    neighbours = np.full((len(ids), width), -1, np.int32)
    scores = np.zeros((len(ids), width), np.float32)
    neighbours[left[keep], rank[keep]], scores[left[keep], rank[keep]] = right[keep], score[keep]
    return neighbours, scores


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


def column(table: pa.Table, name: str) -> pa.Array:
    """One column as one array."""
    values = table[name].combine_chunks()
    return values.chunk(0) if isinstance(values, pa.ChunkedArray) else values


def _numeric(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _sorted(table: pa.Table, *keys: str) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()


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
