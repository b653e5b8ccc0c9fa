"""The item snapshot: everything the hot path knows of items, immutable and memory-mapped.

`HOME/snapshots/<version>/` holds one snapshot, `HOME/snapshots/current` names the one in use. A worker builds a new one
and swaps the name; serving processes notice (`current_snapshot`) and open it beside the old one.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_repo.names import ENGAGEMENT_COUNTS, ENGAGEMENT_LEVELS
from services.core.errors import CorruptArtefact
from services.features import nearest
from services.features.item_ids import ItemIdIndex
from services.features.item_vectors import ItemVectors
from services.features.snapshot_files import StringColumn, read_array, read_manifest, read_strings, verify_hashes
from services.features.versions import current_folder

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]

CODES = 255
"""Steps of what is kept in one byte."""


def current_snapshot(snapshots: Path) -> Path | None:
    """The folder of the published snapshot, or None before the first."""
    return current_folder(snapshots)


class ItemSnapshot:
    """n items in ascending order of item_id; an item's index is its row. Arrays are read-only.

    `version`, `created` (epoch seconds), `count` n, `dimension` D, `space`, `currency` (the most common one).
    `item_ids`, `titles`: text by row; `brand_names`, `category_names`, `attribute_names` ("key=value"): text by code.
    `vectors` (n, D), kept in eight bits, read as float32, L2-normalised, zero where `has_vector` bool (n,) is false.
    `price` float32 (n,), NaN unknown; `available` bool (n,); `published_at` float64 (n,) epoch seconds, NaN unknown.
    `brand` (n,) codes, −1 none; `category_indptr`/`category_codes`, `attribute_indptr`/`attribute_codes`: CSR.
    `categories_padded` (n, 8): the last eight categories of each item, −1 padding. Codes and row pointers are int16,
    int32 or int64, the narrowest that holds them.
    `engagement` float32 (n, len(names.ENGAGEMENT_LEVELS)), NaN where undefined; `engagement_column` has the counts.
    `extra` float32 (n, E), NaN where unknown: further numeric item features, `extra_names` ("view:feature").
    `neighbours` int32 (n, K), −1 padding, best first; `neighbour_scores` of some of them.
    `popular`, `trending`, `newest`: int32, best first, available items only.
    """

    def __init__(self, folder: Path, *, exact: bool = False) -> None:
        manifest = read_manifest(folder)
        self.folder = folder
        self.version, self.created = manifest.version, manifest.created
        self.count, self.dimension = manifest.count, manifest.dimension
        self.space, self.currency = manifest.space, manifest.currency
        self._index_settings = nearest.EXACT if exact else manifest.index
        self.item_ids, self.titles = read_strings(folder, "item_ids"), read_strings(folder, "titles")
        self._ids = ItemIdIndex(self.item_ids, read_array(folder, "id_slots"))
        self._read_columns()

    def _read_columns(self) -> None:
        def array(name: str) -> NDArray:
            return read_array(self.folder, name)

        self.vectors = ItemVectors(array("vector_codes"), array("vector_scales"))
        self.has_vector: NDArray[np.bool_] = array("has_vector")
        self.price: FloatArray = array("price")
        self.available: NDArray[np.bool_] = array("available")
        self.published_at: NDArray[np.float64] = array("published_at")
        self.brand: NDArray[np.signedinteger] = array("brand")
        self.category_indptr: NDArray[np.signedinteger] = array("category_indptr")
        self.category_codes: NDArray[np.signedinteger] = array("category_codes")
        self.categories_padded: NDArray[np.signedinteger] = array("categories_padded")
        self.attribute_indptr: NDArray[np.signedinteger] = array("attribute_indptr")
        self.attribute_codes: NDArray[np.signedinteger] = array("attribute_codes")
        self.engagement: FloatArray = array("engagement")
        self._engagement_counts: FloatArray = array("engagement_counts")
        self.extra: FloatArray = array("extra")
        self.neighbours: IndexArray = array("neighbours")
        self._neighbour_codes: NDArray[np.uint8] = array("neighbour_scores")
        self.popular: IndexArray = array("popular")
        self.trending: IndexArray = array("trending")
        self.newest: IndexArray = array("newest")
        self._popular_indptr: NDArray[np.int64] = array("popular_in_category_indptr")
        self._popular_rows: IndexArray = array("popular_in_category_rows")
        self._searched: IndexArray = array("searched_rows")

    @classmethod
    def open(cls, folder: Path, *, exact: bool = False) -> "ItemSnapshot":
        """Map the snapshot of a folder into memory. `exact` searches without the index, where faiss is not installed.

        Raises:
            CorruptArtefact: it does not match its manifest (sizes; `verify` compares the hashes).
        """
        snapshot = cls(folder, exact=exact)
        if len(snapshot.item_ids) != snapshot.count or snapshot.vectors.shape != (snapshot.count, snapshot.dimension):
            raise CorruptArtefact(f"{folder} contradicts its manifest: ask for a new snapshot (recompute `snapshot`)")
        return snapshot

    def verify(self) -> None:
        """Compare every file's SHA-256 with the manifest. Raises CorruptArtefact."""
        verify_hashes(self.folder)

    @cached_property
    def brand_names(self) -> StringColumn:
        return read_strings(self.folder, "brand_names")

    @cached_property
    def category_names(self) -> StringColumn:
        return read_strings(self.folder, "category_names")

    @cached_property
    def attribute_names(self) -> StringColumn:
        return read_strings(self.folder, "attribute_names")

    @cached_property
    def brand_index(self) -> dict[str, int]:
        """Code of each brand name."""
        return {name: code for code, name in enumerate(self.brand_names)}

    @cached_property
    def category_index(self) -> dict[str, int]:
        """Code of each category name."""
        return {name: code for code, name in enumerate(self.category_names)}

    @cached_property
    def attribute_index(self) -> dict[str, int]:
        """Code of each "key=value"."""
        return {name: code for code, name in enumerate(self.attribute_names)}

    def index_of(self, item_id: str) -> int:
        """The index of an item, −1 when unknown."""
        return self._ids.index_of(item_id)

    def indices(self, item_ids: list[str] | tuple[str, ...]) -> IndexArray:
        """The indices of items, int32 (len(item_ids),), −1 where unknown."""
        return self._ids.indices(item_ids)

    def neighbour_scores(self, rows: IndexArray | int | slice) -> FloatArray:
        """How strong the neighbours of some items are, float32 (…, K) in 0–1, descending, to 1/510; 0 for padding."""
        return self._neighbour_codes[rows] * np.float32(1 / CODES)

    def engagement_column(self, name: str) -> FloatArray:
        """One of `names.ENGAGEMENT_FEATURES` for all items, float32 (n,), a strided view."""
        if name in ENGAGEMENT_COUNTS:
            return self._engagement_counts[:, ENGAGEMENT_COUNTS.index(name)]
        return self.engagement[:, ENGAGEMENT_LEVELS.index(name)]

    @cached_property
    def extra_names(self) -> list[str]:
        return list(read_strings(self.folder, "extra_names"))

    def extra_column(self, name: str) -> FloatArray:
        """A further item feature ("view:feature") for all items, float32 (n,), NaN where unknown.

        All NaN when the snapshot was built before there was such a view.
        """
        if name not in self.extra_names:
            return np.full(self.count, np.nan, np.float32)
        return self.extra[:, self.extra_names.index(name)]

    def categories_of(self, index: int) -> list[str]:
        """The category names of one item, in the catalogue's order."""
        start, end = self.category_indptr[index : index + 2]
        return self.category_names.take(self.category_codes[start:end])

    def popular_in_category(self, code: int) -> IndexArray:
        """The most popular available items of a category, best first, up to 200."""
        return self._popular_rows[self._popular_indptr[code] : self._popular_indptr[code + 1]]

    @cached_property
    def _nearest(self) -> nearest.NearestIndex:
        return nearest.open_index(self.folder, self._index_settings, self.vectors, self._searched)

    def nearest(self, queries: FloatArray, k: int) -> tuple[IndexArray, FloatArray]:
        """The available items nearest to each query.

        Args:
            queries: float32 (q, D), L2-normalised.
            k: how many of each.

        Returns:
            Indices int32 (q, k) and cosines float32 (q, k), best first; −1 and 0 where there are fewer items.
        """
        return self._nearest.search(queries, k)

    def nearest_among(self, queries: FloatArray, k: int, among: IndexArray) -> tuple[IndexArray, FloatArray]:
        """As `nearest`, exact, over the items of `among` that have vectors: for narrow filters."""
        return nearest.ExactIndex(self.vectors, among[self.has_vector[among]]).search(queries, k)

    def warm(self) -> None:
        """Load the index and the look-ups now rather than in the first request."""
        _ = self.brand_index, self.category_index, self.attribute_index
        if self.count:
            self.nearest(np.zeros((1, self.dimension), np.float32), 1)


def shares_to_codes(shares: FloatArray) -> NDArray[np.uint8]:
    """Numbers from 0 to 1 in steps of 1/255, nothing but 0 becoming 0."""
    return np.where(shares > 0, np.maximum(np.rint(shares * CODES), 1), 0).astype(np.uint8)
