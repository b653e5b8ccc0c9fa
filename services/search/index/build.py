"""Builds, updates, publishes and prunes search indexes: each version whole beside the old ones, swapped atomically.

An update costs the analysis of what changed: tantivy's segments are immutable and shared with the version before (hard
links), the word tables are merged.
"""

import hashlib
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact, NotReady
from services.features.arrow_columns import text_column
from services.features.snapshot_files import write_array, write_strings
from services.features.versions import IN_USE_S, link_or_copy, make_current, new_folder, prune_folders
from services.search.index import engine
from services.search.index.fields import AnalysedItems, analyse_items, searched_columns
from services.search.index.manifest import FORMAT, MANIFEST, SearchManifest, read_manifest, write_manifest
from services.search.index.postings import Postings, count_terms, hashes_of, merged, postings_of
from services.search.index.search_index import ENGINE, SearchIndex, current_index, item_keys
from services.search.spelling.vocabulary import Vocabulary, build_vocabulary, surfaces
from services.search.text.analyser import Analyser, AnalyserConfig

KEPT = 2


def build_index(items: pa.Table, search: Path, *, now: datetime, config: AnalyserConfig | None = None) -> str:
    """Build a new version from all items (`core.columns.ITEM_COLUMNS`, attributes as JSON text); returns its name.

    Nothing is built when the published version holds the same items.
    """
    config = AnalyserConfig() if config is None else config
    source = _digest(searched_columns(items), f"{FORMAT} {config.language}")
    published = _published(search)
    if published is not None and published.source == source:
        return published.version
    analyser = Analyser(config)
    analysed = analyse_items(items, analyser)
    version = _version(now, source)
    if (search / version / MANIFEST).is_file():
        return version
    with new_folder(search, version) as folder:
        keys = item_keys(analysed.item_ids)
        engine.create(folder / ENGINE)
        engine.write(folder / ENGINE, analysed, keys, np.empty(0, np.uint64))
        occurrences = {name: count_terms(tokens) for name, tokens in analysed.tokens.items()}
        _write_tables(folder, analysed.item_ids, keys, postings_of(occurrences), TitleOrder.of(analysed))
        vocabulary_of(analysed, analyser).write(folder)
        _finish(folder, version, source, len(analysed.item_ids), config.language, now)
    return version


def update_index(changed: pa.Table, deleted: Sequence[str], search: Path, *, now: datetime) -> str:
    """A new version: the published one with these items put in or replaced, and those ids taken out; its name.

    Words of items that went stay in the vocabulary of the spelling correction until the next `build_index`.

    Raises:
        NotReady: nothing is published yet: build one.
    """
    current = current_index(search)
    if current is None:
        raise NotReady("There is no search index to update: build one first")
    old = SearchIndex.open(current)
    if not changed.num_rows and not deleted:
        return old.version
    analysed = analyse_items(changed, old.analyser)
    gone = item_keys([*analysed.item_ids, *deleted])
    out = old.rows_of_keys(gone)
    kept = np.delete(np.arange(old.count, dtype=np.int32), out)
    ids = [old.item_ids[row] for row in kept.tolist()] + analysed.item_ids
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    place = np.empty(len(ids), np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    old_rows = np.full(old.count, -1, np.int32)
    old_rows[kept] = place[: kept.size]
    new_rows = place[kept.size :]
    source = _digest(searched_columns(changed), f"{read_manifest(current).source} {sorted(deleted)}")
    version = _version(now, source)
    with new_folder(search, version) as folder:
        _link(current / ENGINE, folder / ENGINE)
        keys = item_keys(analysed.item_ids)
        engine.write(folder / ENGINE, analysed, keys, gone)
        before = old.postings.occurrences()
        now_ = {
            name: merged(before[name], old_rows, count_terms(tokens), new_rows, len(ids))
            for name, tokens in analysed.tokens.items()
        }
        order_of_titles = TitleOrder.of_index(old).merged(old_rows, TitleOrder.of(analysed), new_rows, len(ids))
        sorted_ids = [ids[i] for i in order.tolist()]
        all_keys = np.concatenate((old.keys[kept], keys))[order]
        _write_tables(folder, sorted_ids, all_keys, postings_of(now_), order_of_titles)
        old.vocabulary.merged(vocabulary_of(analysed, old.analyser), old.analyser).write(folder)
        _finish(folder, version, source, len(ids), old.analyser.config.language, now)
    return version


def publish(search: Path, version: str) -> Path:
    """Make a version the current one, atomically. Returns its folder.

    Raises:
        CorruptArtefact: there is no such version, or it is damaged.
    """
    read_manifest(search / version)
    return make_current(search, version)


def prune(search: Path, *, keep: int = KEPT, now: float | None = None, in_use_s: float = IN_USE_S) -> list[str]:
    """Delete old versions (see `versions.prune_folders`). Returns which."""
    return prune_folders(search, lambda folder: (folder / MANIFEST).is_file(), keep=keep, now=now, in_use_s=in_use_s)


class TitleOrder:
    """The titles' terms in order: `hashes` uint64, those of item i from `indptr[i]` to `indptr[i + 1]`."""

    def __init__(self, indptr: NDArray[np.int64], hashes: NDArray[np.uint64]) -> None:
        self.indptr, self.hashes = indptr, hashes

    @classmethod
    def of(cls, analysed: AnalysedItems) -> "TitleOrder":
        titles = [[token.terms[0] for token in tokens] for tokens in analysed.tokens["title"]]
        indptr = np.concatenate(([0], np.cumsum([len(title) for title in titles]))).astype(np.int64)
        known: dict[str, int] = {term: 0 for title in titles for term in title}
        hashes = hashes_of(known)
        known = dict(zip(known, range(len(known)), strict=True))
        codes = np.array([known[term] for title in titles for term in title], np.int64)
        return cls(indptr, hashes[codes] if codes.size else np.empty(0, np.uint64))

    @classmethod
    def of_index(cls, index: SearchIndex) -> "TitleOrder":
        return cls(index.title_indptr, index.postings.terms[index.title_terms])

    def merged(
        self, old_rows: NDArray[np.int32], new: "TitleOrder", new_rows: NDArray[np.int32], count: int
    ) -> "TitleOrder":
        """Both in one numbering of `count` items, as `postings.merged`."""
        owners = np.concatenate((np.repeat(old_rows, np.diff(self.indptr)), np.repeat(new_rows, np.diff(new.indptr))))
        hashes = np.concatenate((self.hashes, new.hashes))
        order = np.argsort(owners, kind="stable")
        order = order[owners[order] >= 0]
        indptr = np.searchsorted(owners[order], np.arange(count + 1)).astype(np.int64)
        return TitleOrder(indptr, hashes[order])


def vocabulary_of(analysed: AnalysedItems, analyser: Analyser) -> Vocabulary:
    """The words of titles in order; brands, categories and attributes add words that no title has."""
    titles = [surfaces(tokens) for tokens in analysed.tokens["title"]]
    more: dict[str, int] = {}
    for name in ("brand", "categories", "attributes"):
        for item in analysed.tokens[name]:
            for word in dict.fromkeys(surfaces(item)):
                more[word] = more.get(word, 0) + 1
    known = {word for title in titles for word in title}
    return build_vocabulary(titles, analyser, {word: count for word, count in more.items() if word not in known})


def _write_tables(
    folder: Path, item_ids: list[str], keys: NDArray[np.uint64], postings: Postings, titles: TitleOrder
) -> None:
    write_strings(folder, "item_ids", *text_column(pa.array(item_ids, pa.string())))
    write_array(folder, "keys", keys)
    postings.write(folder)
    write_array(folder, "title_order_indptr", titles.indptr)
    write_array(folder, "title_order_terms", np.searchsorted(postings.terms, titles.hashes).astype(np.int32))


def _finish(folder: Path, version: str, source: str, count: int, language: str, now: datetime) -> None:
    write_manifest(folder, version=version, created=now.timestamp(), source=source, count=count, language=language)


def _link(old: Path, new: Path) -> None:
    """The engine's folder anew: its segments, which never change, as hard links where the file system has them."""
    new.mkdir()
    for path in old.iterdir():
        (shutil.copy2 if path.suffix in (".json", ".lock") else link_or_copy)(path, new / path.name)


def _published(search: Path) -> SearchManifest | None:
    current = current_index(search)
    try:
        return None if current is None else read_manifest(current)
    except CorruptArtefact:
        return None


def _version(now: datetime, source: str) -> str:
    return f"{now:%Y%m%dT%H%M%S}-{source[:12]}"


def _digest(table: pa.Table, salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.replace_schema_metadata(None))
    digest.update(sink.getvalue())
    return digest.hexdigest()
