"""Search's share of background work: the index follows the catalogue, the query memory follows what people do."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine

from services.core.errors import CorruptArtefact
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.db.checkpoints import SEARCH_INDEX, set_checkpoint
from services.db.items import item_versions, items_mark, read_items, read_names
from services.db.query_feedback import attribute
from services.db.query_statistics import query_item_weights, successful_queries
from services.db.session import transaction
from services.db.turns import in_turn
from services.features.stored_versions import follow_version, push_version
from services.search.catalogue_state import difference, write_state
from services.search.index.build import build_index, prune, publish, update_index
from services.search.index.manifest import read_manifest
from services.search.index.search_index import current_index
from services.search.query_memory import QueryMemory
from services.search.search_storage import SUGGESTIONS, follow_index, push_index, push_memory
from services.search.suggest.build import build_suggestions, current_suggestions
from services.search.suggest.build import prune as prune_suggestions
from services.search.suggest.build import publish as publish_suggestions
from services.search.suggest.build import read_manifest as read_suggestions
from services.search.text.analyser import AnalyserConfig

INDEX_TURN, MEMORY_TURN = "search-index", "query-memory"
SUGGESTED_S = 600.0
MOST_ASKED = 50_000
UPDATED_SHARE = 0.2
"""Where more of the catalogue than this changed, the index is built anew."""


def update_search(
    engine: Engine,
    paths: HomePaths,
    language: str,
    progress: Callable[[float], None],
    *,
    everything: bool = False,
    storage: ObjectStorage | None = None,
) -> dict[str, Any]:
    """Bring index, query memory and suggestions up to date; `everything`: make them anew. `storage`: where they are
    published as well, and followed from, as hosts share no home. What was done, as JSON."""
    index = bring_index(engine, paths.search, language, everything=everything, storage=storage)
    progress(0.5)
    memory = bring_memory(engine, paths.search, everything=everything, storage=storage)
    progress(0.7)
    anew = everything or index["how"] == "built"
    suggestions = bring_suggestions(engine, paths.suggest, language, everything=anew, storage=storage)
    return {"index": index, "memory": memory, "suggestions": suggestions}


def bring_index(
    engine: Engine,
    search: Path,
    language: str,
    *,
    everything: bool = False,
    storage: ObjectStorage | None = None,
) -> dict[str, Any]:
    """An index of the catalogue as it is, published: the published one with what changed, or one that is built anew.

    `language`: whose stems it uses; another one than the published index's builds anew, and so does a damaged index.
    `storage`: its index is the published one, whatever lies here. Workers of all hosts take turns: each goes on from
    what the one before published.

    Raises:
        DependencyDown: the storage does not answer. What is published stays so.
    """
    with in_turn(engine, INDEX_TURN):
        return _bring_index(engine, search, language, everything, storage)


def _bring_index(
    engine: Engine, search: Path, language: str, everything: bool, storage: ObjectStorage | None
) -> dict[str, Any]:
    now = datetime.now(UTC)
    stored, damaged = (None, False) if storage is None else follow_index(search, storage)
    with transaction(engine) as connection:
        mark = items_mark(connection)
        versions = item_versions(connection)
        current = current_index(search)
        version = None if current is None else current.name
        everything = everything or (current is not None and not _can_follow(current, language))
        found = None if everything else difference(search, version, versions)
        if found is not None and len(found) > UPDATED_SHARE * max(versions.num_rows, 1):
            found = None
        items = read_items(connection, None if found is None else found.changed) if found is None or found else None
    how = "unchanged"
    if items is not None:
        how = "built" if found is None else "updated"
        if found is None:
            version = build_index(items, search, now=now, config=AnalyserConfig(language))
        else:
            version = update_index(items, found.deleted, search, now=now)
    assert version is not None  # without one everything is built
    write_state(search, version, versions)
    if storage is not None and (items is not None or stored is None or stored.name != version):
        push_index(search, version, storage, again=damaged)
    if items is not None:
        publish(search, version)
        prune(search)
    with transaction(engine) as connection:
        set_checkpoint(connection, SEARCH_INDEX, mark)
    changed = versions.num_rows if found is None else len(found)
    return {"version": version, "how": how, "items": versions.num_rows, "changed": changed}


def _can_follow(index: Path, language: str) -> bool:
    """Whether the published index is whole and of this language: only then it is worth an update."""
    try:
        return read_manifest(index).language == language
    except CorruptArtefact:
        return False


def bring_suggestions(
    engine: Engine,
    suggest: Path,
    language: str,
    *,
    everything: bool = False,
    storage: ObjectStorage | None = None,
) -> str:
    """Suggestions of the catalogue and of what people asked with success: made anew when the published ones are older
    than ten minutes, since what to suggest changes slowly. Returns the published version."""
    stored, damaged = (None, False) if storage is None else follow_version(SUGGESTIONS, suggest, storage)
    current, now = current_suggestions(suggest), datetime.now(UTC)
    anew = everything or current is None or not _are_recent(current, now)
    version = _build_suggestions(engine, suggest, language, now) if current is None or anew else current.name
    if storage is not None and (stored is None or stored.name != version):
        push_version(SUGGESTIONS, suggest / version, storage, again=damaged)
    if anew:
        publish_suggestions(suggest, version)
        prune_suggestions(suggest)
    return version


def _are_recent(suggestions: Path, now: datetime) -> bool:
    """Whether these need not be made anew yet; those of an earlier release, which name no files, are."""
    try:
        manifest = read_suggestions(suggestions)
    except CorruptArtefact:
        return False
    return bool(manifest.files) and now.timestamp() - manifest.created < SUGGESTED_S


def _build_suggestions(engine: Engine, suggest: Path, language: str, now: datetime) -> str:
    with transaction(engine) as connection:
        items = read_names(connection)
        asked = successful_queries(connection, MOST_ASKED)
    return build_suggestions(items, asked, suggest, now=now, config=AnalyserConfig(language))


def bring_memory(
    engine: Engine, search: Path, *, everything: bool = False, storage: ObjectStorage | None = None
) -> dict[str, Any]:
    """Count new searches and what came of them, and publish what people who asked a query took.

    Workers of all hosts take turns: the last to publish has counted all.
    """
    with in_turn(engine, MEMORY_TURN):
        return _bring_memory(engine, search, everything, storage)


def _bring_memory(engine: Engine, search: Path, everything: bool, storage: ObjectStorage | None) -> dict[str, Any]:
    with transaction(engine) as connection:
        counted = attribute(connection, everything=everything)
    with transaction(engine) as connection:
        pairs: pa.Table = query_item_weights(connection, datetime.now(UTC))
    memory = QueryMemory.of(pairs)
    memory.write(search)
    if storage is not None:
        push_memory(search, storage)
    return {**asdict(counted), "queries": len(memory), "pairs": pairs.num_rows}
