"""What the profile computation needs of items: vectors, categories, brands and prices, as aligned arrays."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from services.core import columns
from services.profiles.places import places

FEW = 10
"""Fewer ids than one in so many items are looked up in a dictionary: hashing the whole catalogue would take longer."""


@dataclass(frozen=True)
class Catalogue:
    """n items in the order of `item_ids`.

    `vectors` (n, D) float32, L2-normalised, zero rows where `has_vector` is False; `price` (n,) NaN where unknown;
    `brand` (n,) code into `brand_names`, −1 without one; `categories` (n, C) CSR of ones; per category name its mean
    `category_level` (0 is the first of an item's list) and its `category_coverage`, the share of the shop's items
    that carry it; `deepest` (n,) code of the last category of the item's list, −1 without one.
    """

    item_ids: pa.Array
    vectors: NDArray[np.float32]
    has_vector: NDArray[np.bool_]
    space: str
    price: NDArray[np.float64]
    brand: NDArray[np.int32]
    brand_names: pa.Array
    categories: sparse.csr_array
    category_names: pa.Array
    category_level: NDArray[np.float64]
    category_coverage: NDArray[np.float64]

    @property
    def count(self) -> int:
        return len(self.item_ids)

    def indices(self, item_ids: pa.Array) -> NDArray[np.int64]:
        """Row of each item id, −1 for an item the catalogue does not hold."""
        if len(item_ids) * FEW < self.count:
            rows = self._rows
            return np.array([rows.get(item_id, -1) for item_id in item_ids.to_pylist()], np.int64)
        return places(item_ids, self.item_ids)

    @cached_property
    def category_codes(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The categories of each item: (n + 1,) where they start, and the codes of all."""
        return self.categories.indptr.astype(np.int32, copy=False), self.categories.indices.astype(np.int32, copy=False)

    @cached_property
    def brand_codes(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The brand of each item, if it has one, in the form of `category_codes`."""
        branded = self.brand >= 0
        return np.concatenate([[0], np.cumsum(branded)]).astype(np.int32), self.brand[branded]

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Row by item id, kept for the many small questions of live updates."""
        return {item_id: row for row, item_id in enumerate(self.item_ids.to_pylist())}


def build_catalogue(items: pa.Table, vectors: pa.Table, coverage: Mapping[str, float] | None = None) -> Catalogue:
    """The catalogue of `items` (item_id, brand, categories, price) and `vectors` (item_id, space, vector bytes).

    Vectors of several spaces are not comparable: those of the most frequent space are used. `coverage` is the share
    of the whole shop's items by category name, needed where `items` is a part of the shop; by default that of `items`.
    """
    item_ids = _one_chunk(items.column(columns.ITEM_ID).cast(pa.string()))
    n = len(item_ids)
    matrix, has_vector, space = _vectors(item_ids, vectors)
    brand, brand_names = _codes(_one_chunk(items.column("brand").cast(pa.string())))
    categories, names, level = _categories(_one_chunk(items.column("categories")), n)
    if coverage is None:
        share = np.asarray(categories.sum(axis=0)).ravel() / max(n, 1)
    else:
        share = np.array([coverage.get(name, 0.0) for name in names.to_pylist()], np.float64)
    price = pc.fill_null(items.column("price").cast(pa.float64()), float("nan")).to_numpy()
    return Catalogue(
        item_ids=item_ids,
        vectors=matrix,
        has_vector=has_vector,
        space=space,
        price=np.where(price > 0, price, np.nan),
        brand=brand,
        brand_names=brand_names,
        categories=categories,
        category_names=names,
        category_level=level,
        category_coverage=share,
    )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _vectors(item_ids: pa.Array, table: pa.Table) -> tuple[NDArray[np.float32], NDArray[np.bool_], str]:
    """(n, D) matrix aligned with `item_ids`, which rows have a vector, and the vector space."""
    n = len(item_ids)
    if table.num_rows == 0:
        return np.zeros((n, 0), np.float32), np.zeros(n, bool), ""
    spaces = Counter({pair["values"]: pair["counts"] for pair in table.column("space").value_counts().to_pylist()})
    space = min(spaces, key=lambda name: (-spaces[name], name))
    table = table.filter(pc.equal(table.column("space"), space))
    data = _one_chunk(table.column("vector").cast(pa.binary()))
    values = np.frombuffer(b"".join(data.to_pylist()), "<f4").reshape(len(data), -1)
    rows = places(table.column(columns.ITEM_ID).cast(pa.string()), item_ids)
    known = rows >= 0
    matrix = np.zeros((n, values.shape[1]), np.float32)
    matrix[rows[known]] = values[known]
    has_vector = np.zeros(n, bool)
    has_vector[rows[known]] = True
    return matrix, has_vector, space


def _codes(column: pa.Array) -> tuple[NDArray[np.int32], pa.Array]:
    """Codes into the sorted distinct names; null and empty names are −1."""
    names = pa.array(sorted(name for name in column.unique().to_pylist() if name), pa.string())
    return places(column, names).astype(np.int32), names


def _categories(column: pa.Array, n: int) -> tuple[sparse.csr_array, pa.Array, NDArray[np.float64]]:
    """(n, C) membership, the names of the columns, and each name's mean place in the items' lists."""
    rows = pc.list_parent_indices(column).to_numpy().astype(np.int64)
    codes, names = _codes(pc.list_flatten(column).cast(pa.string()))
    first = np.searchsorted(rows, np.arange(n))
    place = np.arange(len(rows)) - first[rows]
    kept = codes >= 0
    rows, codes, place = rows[kept], codes[kept], place[kept]
    membership = sparse.csr_array((np.ones(len(rows), np.float32), (rows, codes)), shape=(n, len(names)))
    membership.sum_duplicates()
    membership.data[:] = 1.0
    total = np.bincount(codes, place, minlength=len(names))
    count = np.bincount(codes, minlength=len(names))
    return membership, names, total / np.maximum(count, 1)
