"""What workers publish for search, in object storage: `search/`, `suggest/`, `search-terms/`, `query-memory/` and
`synonyms/`.

Beside an index lies which items it was made of (`catalogue_state`): with both, another worker brings it up to date.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from services.core.errors import NotFound
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.features.snapshot import ItemSnapshot
from services.features.stored_file import pull_file, push_file, replace_file
from services.features.stored_versions import StoredKind, follow_version, pull_version, push_version
from services.search.catalogue_state import FILE as STATE
from services.search.catalogue_state import state_version
from services.search.index.build import prune as prune_indexes
from services.search.index.manifest import SearchManifest
from services.search.index.manifest import read_manifest as read_index
from services.search.item_terms_store import FOLDER as TERMS_FOLDER
from services.search.item_terms_store import TermsManifest, item_terms_of, prune_terms, terms_name
from services.search.item_terms_store import read_manifest as read_terms
from services.search.query_memory import FILE as MEMORY
from services.search.suggest.build import SuggestManifest
from services.search.suggest.build import prune as prune_suggestions
from services.search.suggest.build import read_manifest as read_suggestions
from services.search.synonyms import FILE as SYNONYMS
from services.search.synonyms import SynonymFile
from services.search.text.analyser import Analyser

IN_USE_S = 120.0
"""An index may follow another within seconds: what was fetched is in use no longer than this after it was replaced."""
REBUILD = "run `portrait search rebuild`"
INDEXES = StoredKind(
    "search", SearchManifest, read_index, partial(prune_indexes, in_use_s=IN_USE_S), "search index", REBUILD
)
SUGGESTIONS = StoredKind(
    "suggest", SuggestManifest, read_suggestions, partial(prune_suggestions, in_use_s=IN_USE_S), "suggestions", REBUILD
)
TERMS = StoredKind("search-terms", TermsManifest, read_terms, prune_terms, "terms of titles", "ask for a new snapshot")
MEMORY_NAME = "query-memory"
STORED_SYNONYMS = f"synonyms/{SYNONYMS}"
REPLACED = ".replaced"


def served_parts(paths: HomePaths, storage: ObjectStorage) -> tuple[Callable[[], object], ...]:
    """What fetches each thing that search reads, where the storage has another one than this home. Each raises
    CorruptArtefact where what is stored is damaged, and DependencyDown."""
    return (
        partial(pull_version, INDEXES, paths.search, storage),
        partial(pull_version, SUGGESTIONS, paths.suggest, storage),
        partial(pull_version, TERMS, paths.search / TERMS_FOLDER, storage),
        partial(pull_file, paths.search / MEMORY, MEMORY_NAME, storage),
        partial(pull_synonyms, paths.search, storage),
    )


def push_index(search: Path, version: str, storage: ObjectStorage, *, again: bool = False) -> None:
    """Publish an index in the storage (see `push_version`), and which items it was made of."""
    push_version(INDEXES, search / version, storage, {STATE: (search / STATE).read_bytes()}, again=again)


def follow_index(search: Path, storage: ObjectStorage) -> tuple[Path | None, bool]:
    """Make the storage's index the current one here, to be brought up to date (see `follow_version`)."""
    folder, damaged = follow_version(INDEXES, search, storage)
    if folder is not None and state_version(search) != folder.name:
        state = storage.read(f"{INDEXES.name}/{folder.name}/{STATE}")
        if state is not None:
            replace_file(search / STATE, state)
    return folder, damaged


def publish_terms(snapshot: ItemSnapshot, analyser: Analyser, search: Path, storage: ObjectStorage) -> None:
    """Have a snapshot's terms of titles in the storage before the snapshot is: fetched or made where they are not."""
    terms = search / TERMS_FOLDER
    stored, damaged = follow_version(TERMS, terms, storage)
    name = terms_name(snapshot, analyser)
    item_terms_of(snapshot, analyser, search)
    if stored is None or stored.name != name:
        push_version(TERMS, terms / name, storage, again=damaged)


def push_memory(search: Path, storage: ObjectStorage) -> None:
    """Publish the query memory in the storage."""
    push_file(search / MEMORY, MEMORY_NAME, storage)


def push_synonyms(path: Path, storage: ObjectStorage) -> SynonymFile:
    """Publish the synonyms of a file, and return them: they are all hosts' from now on.

    Raises:
        NotFound: there is no such file.
        ConfigurationError: it is not as it should be; the detail says where.
    """
    if not path.is_file():
        raise NotFound(f"There is no {path}: write it first")
    content = path.read_bytes()
    synonyms = SynonymFile.parse(content, path)
    storage.write(STORED_SYNONYMS, content)
    return synonyms


def stored_synonyms(storage: ObjectStorage) -> SynonymFile | None:
    """The storage's synonyms, None where it has none.

    Raises:
        ConfigurationError: what it has cannot be read.
    """
    content = storage.read(STORED_SYNONYMS)
    return None if content is None else SynonymFile.parse(content, f"{storage.url}/{STORED_SYNONYMS}")


def pull_synonyms(search: Path, storage: ObjectStorage) -> None:
    """Put the storage's synonyms, where it has some, in place of those of this home, which stay beside them as
    `synonyms.toml.replaced`."""
    stored, path = storage.read(STORED_SYNONYMS), search / SYNONYMS
    present = path.read_bytes() if path.is_file() else None
    if stored is None or stored == present:
        return
    if present is not None:
        shutil.copy2(path, path.with_name(path.name + REPLACED))
    replace_file(path, stored)
