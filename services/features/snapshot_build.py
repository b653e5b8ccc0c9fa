"""Builds, publishes and prunes item snapshots. The same tables after the same snapshot give the same files, byte for
byte."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.names import ENGAGEMENT_COUNTS, ENGAGEMENT_FEATURES, ITEM_ID
from services.core.errors import CorruptArtefact
from services.features import snapshot_tables as source
from services.features.arrow_columns import coded, column, lists_csr, numbers, text_column
from services.features.item_ids import id_slots
from services.features.item_vectors import ItemVectors
from services.features.nearest import EXACT
from services.features.nearest_build import INDEX_FILES, Earlier, build_index
from services.features.neighbour_pairs import neighbour_matrix
from services.features.snapshot import current_snapshot, shares_to_codes
from services.features.snapshot_files import (
    FORMAT,
    MANIFEST,
    Manifest,
    file_entries,
    file_entry,
    narrow,
    read_manifest,
    write_array,
    write_manifest,
    write_strings,
)
from services.features.snapshot_tables import SnapshotTables
from services.features.versions import make_current, new_folder, prune_folders

LISTED = 1_000
LISTED_IN_CATEGORY = 200
KEPT = 3

IndexArray = NDArray[np.int32]


def build_snapshot(tables: SnapshotTables, snapshots: Path, *, now: datetime) -> str:
    """Build a snapshot folder under `snapshots` and return its version, without publishing it.

    Nothing is built when the published snapshot holds the same tables: its version is returned.
    """
    tables = tables.sorted()
    digest = tables.digest()
    published = _published_manifest(snapshots)
    if published is not None and published.source == digest:
        return published.version
    version = f"{now:%Y%m%dT%H%M%S}-{digest[:12]}"
    if (snapshots / version / MANIFEST).is_file():
        return version
    with new_folder(snapshots, version) as folder:
        _write(tables, folder, version, digest, now, _earlier_index(snapshots, published))
    return version


def publish(snapshots: Path, version: str) -> Path:
    """Make a version the current one, atomically. Returns its folder.

    Raises:
        CorruptArtefact: there is no such version, or it is damaged.
    """
    read_manifest(snapshots / version)
    return make_current(snapshots, version)


def prune(snapshots: Path, *, keep: int = KEPT, now: float | None = None) -> list[str]:
    """Delete old snapshots (see `versions.prune_folders`). Returns which."""
    return prune_folders(snapshots, lambda folder: (folder / MANIFEST).is_file(), keep=keep, now=now)


def _published_manifest(snapshots: Path) -> Manifest | None:
    """The manifest of the published snapshot; None without one, or when it is damaged and must be built anew."""
    current = current_snapshot(snapshots)
    try:
        return None if current is None else read_manifest(current)
    except CorruptArtefact:
        return None


def _earlier_index(snapshots: Path, published: Manifest | None) -> tuple[str, Earlier] | None:
    """The published snapshot's vector space and its index, where it has one that is whole."""
    if published is None or published.index == EXACT:
        return None
    folder = snapshots / published.version
    files = {name: entry for name, entry in published.files.items() if name in INDEX_FILES}
    if any(file_entry(folder / name) != entry for name, entry in files.items()):
        return None
    return published.space, Earlier(folder, published.index)


def _write(
    tables: SnapshotTables,
    folder: Path,
    version: str,
    digest: str,
    now: datetime,
    earlier: tuple[str, Earlier] | None,
) -> None:
    items = tables.items
    ids = column(items, ITEM_ID).cast(pa.string())
    available = column(items, "available").fill_null(False).to_numpy(zero_copy_only=False)
    engagement = source.engagement_matrix(tables, ids)
    space, vectors, has_vector = source.matrix_of_vectors(tables, ids)
    neighbours, neighbour_scores = neighbour_matrix(tables.co_engagement, ids)
    published, arrival = source.publication_times(items)
    extra_names, extra = source.extra_matrix(tables, ids)
    write_strings(folder, "extra_names", *text_column(pa.array(extra_names, pa.string())))
    searched = np.flatnonzero(has_vector & available).astype(np.int32)
    _write_ids(folder, ids)
    indptr, codes, category_count = _write_categories(folder, items)
    _write_labels(folder, items)
    popular = _popularity_order(engagement, arrival, available)
    read = ItemVectors.of(vectors)
    arrays = {
        "vector_codes": read.codes,
        "vector_scales": read.scales,
        "has_vector": has_vector,
        "price": numbers(items, "price", np.float32),
        "available": available,
        "published_at": published,
        "engagement": engagement[:, len(ENGAGEMENT_COUNTS) :],
        "engagement_counts": engagement[:, : len(ENGAGEMENT_COUNTS)],
        "extra": extra,
        "neighbours": neighbours,
        "neighbour_scores": shares_to_codes(neighbour_scores),
        "searched_rows": searched,
        "popular": popular[:LISTED],
        "trending": _trending(engagement, available),
        "newest": _newest(arrival, available),
        **_popular_by_category(popular, indptr, codes, category_count),
    }
    for name, array in arrays.items():
        write_array(folder, name, array)
    alike = earlier[1] if earlier is not None and earlier[0] == space else None
    index = build_index(vectors, read, searched, folder, alike)
    write_manifest(folder, _manifest(folder, version, digest, now, vectors, space, _currency(items), index))


def _manifest(
    folder: Path,
    version: str,
    digest: str,
    now: datetime,
    vectors: NDArray[np.float32],
    space: str,
    currency: str,
    index: dict[str, Any],
) -> Manifest:
    return Manifest(
        format=FORMAT,
        version=version,
        created=now.timestamp(),
        source=digest,
        count=len(vectors),
        dimension=vectors.shape[1],
        space=space,
        currency=currency,
        files=file_entries(folder),
        index=index,
    )


def _write_ids(folder: Path, ids: pa.Array) -> None:
    write_strings(folder, "item_ids", *text_column(ids))
    write_array(folder, "id_slots", id_slots(ids.cast(pa.binary()).to_pylist()))


def _write_categories(folder: Path, items: pa.Table) -> tuple[NDArray[np.int64], IndexArray, int]:
    names, indptr, codes = lists_csr(column(items, "categories"))
    write_strings(folder, "category_names", *text_column(names))
    write_array(folder, "category_indptr", narrow(indptr))
    write_array(folder, "category_codes", narrow(codes))
    write_array(folder, "categories_padded", narrow(source.last_of_each(indptr, codes, source.PADDED_CATEGORIES)))
    return indptr, codes, len(names)


def _write_labels(folder: Path, items: pa.Table) -> None:
    """Titles, brands and attributes."""
    write_strings(folder, "titles", *text_column(column(items, "title")))
    brands, codes = coded(column(items, "brand"))
    write_strings(folder, "brand_names", *text_column(brands))
    write_array(folder, "brand", narrow(codes))
    names, indptr, attribute_codes = lists_csr(source.attribute_lists(column(items, "attributes")))
    write_strings(folder, "attribute_names", *text_column(names))
    write_array(folder, "attribute_indptr", narrow(indptr))
    write_array(folder, "attribute_codes", narrow(attribute_codes))


def _column(engagement: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    return np.nan_to_num(engagement[:, ENGAGEMENT_FEATURES.index(name)])


def _popularity_order(
    engagement: NDArray[np.float32], arrival: NDArray[np.float64], available: NDArray[np.bool_]
) -> IndexArray:
    """All available items, most popular first; equally popular ones newest first."""
    order = np.lexsort((-np.nan_to_num(arrival, nan=-np.inf), -_column(engagement, "popularity")))
    return order[available[order]].astype(np.int32)


def _trending(engagement: NDArray[np.float32], available: NDArray[np.bool_]) -> IndexArray:
    """Available items that are engaged with more than expected: trend above 1, best first."""
    trend = _column(engagement, "trend")
    order = np.lexsort((-_column(engagement, "popularity"), -trend))
    return order[(available & (trend > 1))[order]][:LISTED].astype(np.int32)


def _newest(arrival: NDArray[np.float64], available: NDArray[np.bool_]) -> IndexArray:
    order = np.argsort(-arrival, kind="stable")
    return order[(available & np.isfinite(arrival))[order]][:LISTED].astype(np.int32)


def _popular_by_category(
    popular: IndexArray, indptr: NDArray[np.int64], codes: IndexArray, category_count: int
) -> dict[str, NDArray[Any]]:
    """CSR: for each category its available items in the order of `popular`, at most `LISTED_IN_CATEGORY`."""
    rows = np.repeat(np.arange(indptr.size - 1, dtype=np.int32), np.diff(indptr))
    rank_of_row = np.full(indptr.size - 1, -1, np.int64)
    rank_of_row[popular] = np.arange(popular.size)
    listed = rank_of_row[rows] >= 0
    rows, category = rows[listed], codes[listed]
    order = np.lexsort((rank_of_row[rows], category))
    rows, category = rows[order], category[order]
    starts = np.searchsorted(category, np.arange(category_count + 1))
    keep = np.arange(rows.size) - starts[category] < LISTED_IN_CATEGORY
    counts = np.bincount(category[keep], minlength=category_count)
    return {
        "popular_in_category_indptr": np.concatenate(([0], counts.cumsum())).astype(np.int64),
        "popular_in_category_rows": rows[keep],
    }


def _currency(items: pa.Table) -> str:
    counted = Counter(value for value in column(items, "currency").to_pylist() if value)
    return min(counted, key=lambda name: (-counted[name], name)) if counted else ""
