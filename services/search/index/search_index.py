"""The search index in use: a tantivy index and word tables of the same analysed texts, in one immutable folder.

`HOME/search/<version>/` holds one version, `HOME/search/current` names the one in use; a worker builds or updates one
(`services.search.index.build`), serving processes notice (`current_index`) and open it beside the old one.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact
from services.features.item_ids import digests
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_files import StringColumn, read_array, read_strings
from services.features.versions import current_folder
from services.search.index.engine import Engine
from services.search.index.manifest import SearchManifest, read_manifest
from services.search.index.postings import Postings
from services.search.spelling.corrector import SpellingCorrector
from services.search.spelling.vocabulary import Vocabulary
from services.search.text.analyser import Analyser, AnalyserConfig

ENGINE = "tantivy"


def current_index(search: Path) -> Path | None:
    """The folder of the published search index, or None before the first."""
    return current_folder(search)


class SearchIndex:
    """m items in ascending order of item_id; an item's row is its place. Read-only.

    `version` names it; `item_ids`: text by row; `keys` uint64 (m,): digests of the ids, how tantivy knows items;
    `analyser`: analyses queries as the items were. `title_indptr` int64 (m + 1,) and `title_terms` int32: the title's
    terms in order, as positions in `postings.terms`.
    """

    def __init__(self, folder: Path, manifest: SearchManifest) -> None:
        self.folder, self.version, self.count = folder, manifest.version, manifest.count
        self.analyser = Analyser(AnalyserConfig(manifest.language))
        self.item_ids: StringColumn = read_strings(folder, "item_ids")
        self.keys: NDArray[np.uint64] = read_array(folder, "keys")
        self._key_order = np.argsort(self.keys, kind="stable").astype(np.int32)
        self._sorted_keys = self.keys[self._key_order]
        self.postings = Postings.read(folder)
        self.title_indptr: NDArray[np.int64] = read_array(folder, "title_order_indptr")
        self.title_terms: NDArray[np.int32] = read_array(folder, "title_order_terms")
        self.engine = Engine(folder / ENGINE)
        self.vocabulary = Vocabulary.read(folder)

    @classmethod
    def open(cls, folder: Path) -> "SearchIndex":
        """Raises CorruptArtefact where the folder does not match its manifest."""
        index = cls(folder, read_manifest(folder))
        if not index.count == len(index.item_ids) == index.keys.size:
            raise CorruptArtefact(f"{folder} contradicts its manifest: build a new search index")
        return index

    @cached_property
    def corrector(self) -> SpellingCorrector:
        """Corrects queries against the words of this index."""
        return SpellingCorrector(self.vocabulary, self.analyser)

    def rows_of_keys(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The row of each key that the index holds, int32, in the order of `keys`."""
        at = np.searchsorted(self._sorted_keys, keys)
        at[at == self.count] = 0
        known = self._sorted_keys[at] == keys if self.count else np.zeros(keys.size, bool)
        return self._key_order[at[known]]

    def rows_in(self, snapshot: ItemSnapshot) -> NDArray[np.int32]:
        """The snapshot's index of each row, int32 (m,), −1 where the snapshot lacks the item."""
        return snapshot.indices(list(self.item_ids))


def item_keys(item_ids: list[str]) -> NDArray[np.uint64]:
    """How tantivy knows items."""
    return digests(item_ids)
