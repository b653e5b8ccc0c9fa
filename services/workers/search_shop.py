"""Search as it is published, opened by a worker that makes the features that serving would make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.core.errors import NotReady
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.core.storage import ObjectStorage
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_storage import pull_snapshot
from services.search.config import search_config
from services.search.index.search_index import SearchIndex, current_index
from services.search.item_terms import ItemTerms
from services.search.item_terms_store import item_terms_of
from services.search.judged import read_queries, searched_texts
from services.search.pipeline import SearchPipeline
from services.search.query_memory import query_key
from services.search.search_storage import served_parts
from services.search.synonyms import FILE as SYNONYMS
from services.search.synonyms import SynonymFile

if TYPE_CHECKING:
    from services.encoders.encoder_set import EncoderSet


@dataclass(frozen=True)
class SearchShop:
    """Search as it is published. `vectors` makes float32 (n, D) of queries; None where the encoders make another space
    than the items have."""

    pipeline: SearchPipeline
    terms: ItemTerms
    search: Path
    vectors: Callable[[Sequence[str]], NDArray[np.float32]] | None

    @property
    def snapshot(self) -> ItemSnapshot:
        return self.pipeline.snapshot

    def vectors_of(self, pipeline: SearchPipeline, queries: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """The vector of what is searched for, query by query."""
        if self.vectors is None or not queries:
            return [None] * len(queries)
        keys = [query_key(text) for text in searched_texts(queries, read_queries(pipeline, queries))]
        distinct = sorted(set(keys))
        place = dict(zip(distinct, self.vectors(distinct), strict=True))
        return [place[key] for key in keys]


def open_shop(settings: Settings, encoders: "EncoderSet") -> SearchShop:
    """Search as it is published, without a memory of what people took; fetched first where a storage is configured.

    Raises:
        NotReady: there is no snapshot or no index yet.
        CorruptArtefact: what the storage holds is damaged.
        DependencyDown: the storage does not answer.
    """
    paths = HomePaths(settings.home)
    if settings.storage_url is not None:
        fetch_published(paths, ObjectStorage(settings.storage_url))
    folder, index_folder = current_snapshot(paths.snapshots), current_index(paths.search)
    if folder is None or index_folder is None:
        raise NotReady("There is no search index yet: import items, a worker then builds it")
    snapshot, index = ItemSnapshot.open(folder), SearchIndex.open(index_folder)
    terms = item_terms_of(snapshot, index.analyser, paths.search)
    synonyms = SynonymFile.read(paths.search / SYNONYMS)
    pipeline = SearchPipeline(snapshot, index, None, search_config(settings), synonyms)

    def vectors(queries: Sequence[str]) -> NDArray[np.float32]:
        return encoders.in_space(text=encoders.text.encode(list(queries), purpose="query"))

    comparable = bool(snapshot.has_vector.any()) and encoders.space == snapshot.space
    return SearchShop(pipeline, terms, paths.search, vectors if comparable else None)


def fetch_published(paths: HomePaths, storage: ObjectStorage) -> None:
    """Make what search is served from the same here as in the storage."""
    pull_snapshot(paths.snapshots, storage)
    for pull in served_parts(paths, storage):
        pull()
