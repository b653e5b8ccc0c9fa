"""Whether search has anything to bring up to date: a few cheap queries."""

from pathlib import Path

from sqlalchemy import Connection

from services.core.storage import ObjectStorage
from services.db.checkpoints import SEARCH_INDEX, get_checkpoint
from services.db.items import items_mark
from services.db.query_feedback import CHECKPOINT as FEEDBACK
from services.db.query_statistics import pending_feedback
from services.features.versions import CURRENT
from services.search.index.search_index import current_index
from services.search.search_storage import INDEXES


def search_is_due(connection: Connection, search: Path, storage: ObjectStorage | None = None) -> bool:
    """Whether the catalogue changed since the index was made, or something is to be counted.

    `search` is where the index lies. Hosts share no home where there is a `storage`: what is published lies there.

    Raises:
        DependencyDown: the storage does not answer.
    """
    if not _index_is_published(search, storage):
        return True
    if items_mark(connection) != get_checkpoint(connection, SEARCH_INDEX):
        return True
    known = get_checkpoint(connection, FEEDBACK)
    return pending_feedback(connection, 0 if known is None else known["below"])


def _index_is_published(search: Path, storage: ObjectStorage | None) -> bool:
    if storage is None:
        return current_index(search) is not None
    return storage.read(f"{INDEXES.name}/{CURRENT}") is not None
