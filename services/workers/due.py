"""Whether scheduled work has anything to do: one cheap query each, so that an idle shop costs nothing."""

from datetime import datetime
from typing import Any, Protocol

from psycopg import ProgrammingError, sql
from sqlalchemy import Connection, text

from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.core.types import JobKind
from services.db.checkpoints import get_checkpoint, transaction_horizon
from services.db.embeddings import any_failures, stale_items, vectors_changed_since
from services.db.reference import newest_version
from services.db.session import raw
from services.encoders.media_types import MediaReason
from services.features.snapshot import current_snapshot
from services.features.snapshot_storage import FOLDER as STORED_SNAPSHOTS
from services.features.versions import CURRENT
from services.workers.search_due import search_is_due

PROFILES_CHECKPOINT = "profiles"
SNAPSHOT_CHECKPOINT = "snapshot"
SNAPSHOT_SOURCES_CHECKPOINT = "snapshot-sources"
"""SQL by view, for what changes in views that an ML engineer tagged; known without loading Feast."""
FEATURES_CHECKPOINT = "features"
MATERIALIZE_CHECKPOINT = "materialize"
SPACE_CHECKPOINT = "space"
"""Which encoders were configured last and the vector space they made: known without loading a model."""

PASSING_REASONS = (MediaReason.UNREACHABLE, MediaReason.TIMEOUT, MediaReason.HTTP_ERROR)
"""Reasons for a missing modality that may be gone the next time."""


class DueContext(Protocol):
    """What the decision needs of the worker."""

    @property
    def paths(self) -> HomePaths: ...

    @property
    def storage(self) -> ObjectStorage | None: ...

    @property
    def encoder_names(self) -> list[str]: ...


def is_due(connection: Connection, kind: JobKind, parameters: dict[str, Any], context: DueContext) -> bool:
    """True when a job of this kind would find work."""
    if kind is JobKind.EMBEDDINGS and parameters.get("retry") is True:
        return any_failures(connection, PASSING_REASONS)
    if kind is JobKind.EMBEDDINGS:
        known = get_checkpoint(connection, SPACE_CHECKPOINT)
        if known is None or known["encoders"] != context.encoder_names:
            return True
        return bool(stale_items(connection, known["space"], after="", limit=1))
    if kind is JobKind.PROFILES and parameters.get("mode") == "changed":
        return _portraits_are_old(connection)
    if kind is JobKind.MATERIALIZE:
        computed = get_checkpoint(connection, PROFILES_CHECKPOINT)
        return computed is not None and computed != get_checkpoint(connection, MATERIALIZE_CHECKPOINT)
    if kind is JobKind.FEATURES and parameters.get("mode") != "check":
        return _events_since(connection, FEATURES_CHECKPOINT)
    if kind is JobKind.SNAPSHOT:
        changed = catalogue_mark(connection) != get_checkpoint(connection, SNAPSHOT_CHECKPOINT)
        return changed or not _snapshot_is_published(context)
    if kind is JobKind.SEARCH and parameters.get("mode") != "all":
        return search_is_due(connection, context.paths.search, context.storage)
    return True


def _snapshot_is_published(context: DueContext) -> bool:
    """Whether there is a snapshot in the object storage, or without one in this home. Hosts share no home where there
    is a storage: another one builds, and its snapshot never lies here.

    Raises:
        DependencyDown: the storage does not answer.
    """
    if context.storage is None:
        return current_snapshot(context.paths.snapshots) is not None
    return context.storage.read(f"{STORED_SNAPSHOTS}/{CURRENT}") is not None


def _portraits_are_old(connection: Connection) -> bool:
    earlier = get_checkpoint(connection, PROFILES_CHECKPOINT)
    return (
        _events_since(connection, PROFILES_CHECKPOINT)
        or (earlier is not None and vectors_changed_since(connection, datetime.fromisoformat(earlier["vectors"])))
        or (earlier is not None and earlier["reference"] != newest_version(connection))
    )


def _events_since(connection: Connection, name: str) -> bool:
    checkpoint = get_checkpoint(connection, name)
    from_txid = 0 if checkpoint is None else checkpoint["txid"]
    return bool(
        connection.execute(
            text(
                "SELECT EXISTS (SELECT FROM events WHERE txid >= CAST(CAST(:a AS text) AS xid8) "
                "AND txid < CAST(CAST(:b AS text) AS xid8))"
            ),
            {"a": str(from_txid), "b": str(transaction_horizon(connection))},
        ).scalar_one()
    )


def catalogue_mark(connection: Connection) -> dict[str, Any]:
    """What a snapshot is built from, in one small value: it changes when items, vectors, engagement, the registered
    views or the sources of the views tagged for the snapshot change. Engagement moves with every click: it counts each
    five minutes."""
    row = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM items), (SELECT max(updated_at) FROM items)::text, "
            "(SELECT max(event_timestamp) FROM item_vectors)::text, "
            "(SELECT max(event_timestamp) FROM item_engagement "
            "WHERE event_timestamp <= date_bin('5 minutes', now(), 'epoch'))::text"
        )
    ).one()
    sources = get_checkpoint(connection, SNAPSHOT_SOURCES_CHECKPOINT) or {}
    return {
        "items": row[0],
        "updated": row[1],
        "vectors": row[2],
        "engagement": row[3],
        "views": _registered_views(connection),
        "sources": {view: _newest(connection, query) for view, query in sources.items()},
    }


def _registered_views(connection: Connection) -> list[int] | None:
    """How many feature views are registered and when one changed last; None before the first `feast apply`."""
    if connection.execute(text("SELECT to_regclass('feast.feature_views')")).scalar() is None:
        return None
    query = "SELECT count(*), coalesce(max(last_updated_timestamp), 0) FROM feast.feature_views"
    return list(connection.execute(text(query)).one())


def _newest(connection: Connection, query: str) -> list[str | None] | str:
    """The newest times of a view's rows. A source that cannot be read is for the snapshot's job to report."""
    try:
        with connection.begin_nested():
            return list(raw(connection).execute(sql.SQL(query)).fetchone() or ())
    except ProgrammingError:
        return "unreadable"
