"""Item embeddings and fused vectors: which are missing, which are cached, and writing them in bulk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pgvector import Vector
from pgvector.psycopg import register_vector
from sqlalchemy import Connection, text

from services.db.session import raw


@dataclass(frozen=True)
class StoredEmbedding:
    """One cached embedding: its vector, or None with the reason why the content has none."""

    vector: NDArray[np.float32] | None
    reason: str | None


def stale_items(connection: Connection, space: str, *, after: str, limit: int) -> list[str]:
    """Ids above `after`, in order, of items whose fused vector is missing, of another space, or older than the item.

    An item counts as older for a minute after its update, as its transaction may have committed late.
    """
    return list(
        connection.execute(
            text(
                "SELECT i.item_id FROM items i LEFT JOIN item_vectors v USING (item_id) WHERE i.item_id > :after AND "
                "(v.item_id IS NULL OR v.space <> :space OR i.updated_at > v.checked_at - interval '1 minute') "
                "ORDER BY i.item_id LIMIT :limit"
            ),
            {"space": space, "after": after, "limit": limit},
        ).scalars()
    )


def count_stale_items(connection: Connection, space: str) -> int:
    """How many items `stale_items` would go through."""
    return connection.execute(
        text(
            "SELECT count(*) FROM items i LEFT JOIN item_vectors v USING (item_id) WHERE v.item_id IS NULL "
            "OR v.space <> :space OR i.updated_at > v.checked_at - interval '1 minute'"
        ),
        {"space": space},
    ).scalar_one()


def cached_embeddings(connection: Connection, encoder: str, hashes: Sequence[bytes]) -> dict[bytes, StoredEmbedding]:
    """What this encoder version already made of these contents, by content hash (16 bytes)."""
    if not hashes:
        return {}
    driver = raw(connection)
    register_vector(driver)
    with driver.cursor(binary=True) as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (content_hash) content_hash, embedding, reason FROM item_embeddings "
            "WHERE encoder = %s AND content_hash = ANY(%s) ORDER BY content_hash, embedding IS NULL",
            (encoder, list(hashes)),
        )
        return {
            bytes(key): StoredEmbedding(None if vector is None else vector.to_numpy().astype(np.float32), reason)
            for key, vector, reason in cursor
        }


def read_embeddings(
    connection: Connection, modality: str, encoder: str, item_ids: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """The vectors that this encoder version made of one modality of these items; items without one are left out."""
    driver = raw(connection)
    register_vector(driver)
    with driver.cursor(binary=True) as cursor:
        cursor.execute(
            "SELECT item_id, embedding FROM item_embeddings WHERE modality = %s AND encoder = %s "
            "AND item_id = ANY(%s) AND embedding IS NOT NULL ORDER BY item_id",
            (modality, encoder, list(item_ids)),
        )
        return {item_id: vector.to_numpy().astype(np.float32) for item_id, vector in cursor}


@dataclass(frozen=True)
class EmbeddingRow:
    """One row for `write_embeddings`."""

    item_id: str
    content_hash: bytes
    vector: NDArray[np.float32] | None
    reason: str | None


def write_embeddings(connection: Connection, modality: str, encoder: str, rows: Sequence[EmbeddingRow]) -> None:
    """Store embeddings of one modality and encoder version by binary COPY; a row replaces the item's earlier one."""
    if not rows:
        return
    driver = raw(connection)
    register_vector(driver)
    with driver.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE IF NOT EXISTS new_embeddings (item_id text, content_hash bytea, embedding vector, "
            "reason text) ON COMMIT DELETE ROWS"
        )
        cursor.execute("TRUNCATE new_embeddings")
        with cursor.copy("COPY new_embeddings FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "bytea", "vector", "text"])
            for row in rows:
                vector = None if row.vector is None else Vector(row.vector)
                copy.write_row((row.item_id, row.content_hash, vector, row.reason))
        cursor.execute(
            "INSERT INTO item_embeddings (item_id, modality, encoder, content_hash, embedding, reason) "
            "SELECT item_id, %s, %s, content_hash, embedding, reason FROM new_embeddings ORDER BY item_id "
            "ON CONFLICT (item_id, modality, encoder) DO UPDATE SET content_hash = excluded.content_hash, "
            "embedding = excluded.embedding, reason = excluded.reason, updated_at = now()",
            (modality, encoder),
        )


def write_vectors(
    connection: Connection,
    space: str,
    item_ids: Sequence[str],
    vectors: NDArray[np.float32],
    modalities: Sequence[Sequence[str]],
    checked_at: datetime,
) -> list[str]:
    """Store fused vectors (n, D) float32; the ids of those that changed. Items deleted meanwhile are left out.

    `checked_at` is when the items were read: what changed since then is stale again.
    """
    if not item_ids:
        return []
    rows = connection.execute(
        text(
            "WITH new AS (SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:vectors AS bytea[]), "
            "CAST(:modalities AS text[])) AS t(item_id, vector, modalities)), "
            "live AS (SELECT new.* FROM new JOIN items USING (item_id)), "
            "before AS (SELECT item_id, vector, space FROM item_vectors WHERE item_id = ANY(CAST(:ids AS text[]))), "
            "written AS (INSERT INTO item_vectors AS v (item_id, event_timestamp, space, modalities, vector, "
            "checked_at) SELECT item_id, now(), :space, string_to_array(modalities, ','), vector, :checked_at "
            "FROM live ORDER BY item_id ON CONFLICT (item_id) DO UPDATE SET checked_at = excluded.checked_at, "
            "space = excluded.space, modalities = excluded.modalities, vector = excluded.vector, "
            "event_timestamp = CASE WHEN v.vector = excluded.vector AND v.space = excluded.space "
            "THEN v.event_timestamp ELSE excluded.event_timestamp END RETURNING item_id) "
            "SELECT live.item_id FROM live LEFT JOIN before USING (item_id) "
            "WHERE before.vector IS DISTINCT FROM live.vector OR before.space <> :space"
        ),
        {
            "ids": list(item_ids),
            "vectors": [row.tobytes() for row in np.ascontiguousarray(vectors, "<f4")],
            "modalities": [",".join(m) for m in modalities],
            "space": space,
            "checked_at": checked_at,
        },
    )
    return list(rows.scalars())


def modality_reasons(connection: Connection) -> dict[str, int]:
    """How many items lack a modality, by `modality/reason`."""
    rows = connection.execute(
        text("SELECT modality || '/' || reason, count(*) FROM item_embeddings WHERE reason IS NOT NULL GROUP BY 1")
    )
    return {row[0]: row[1] for row in rows}


def users_holding_changed(connection: Connection, since: datetime) -> list[str]:
    """The users with an event on an item whose vector changed after `since`: their portraits change with it."""
    return list(
        connection.execute(
            text(
                "SELECT DISTINCT e.user_id FROM item_vectors v JOIN events e USING (item_id) "
                "WHERE v.event_timestamp > :since"
            ),
            {"since": since},
        ).scalars()
    )


def vectors_changed_since(connection: Connection, since: datetime) -> bool:
    """True when a vector changed after `since`."""
    return connection.execute(
        text("SELECT EXISTS (SELECT FROM item_vectors WHERE event_timestamp > :since)"), {"since": since}
    ).scalar_one()


def any_failures(connection: Connection, reasons: Sequence[str]) -> bool:
    """True when an item's media failed for one of these reasons."""
    statement = "SELECT EXISTS (SELECT FROM item_embeddings WHERE reason = ANY(CAST(:reasons AS text[])))"
    return connection.execute(text(statement), {"reasons": list(reasons)}).scalar_one()


def forget_failures(connection: Connection, reasons: Sequence[str]) -> int:
    """Make items stale whose media failed for one of these passing reasons, so that they are tried again."""
    return connection.execute(
        text(
            "WITH failed AS (DELETE FROM item_embeddings WHERE reason = ANY(CAST(:reasons AS text[])) "
            "RETURNING item_id) UPDATE item_vectors SET checked_at = '-infinity' "
            "WHERE item_id IN (SELECT item_id FROM failed)"
        ),
        {"reasons": list(reasons)},
    ).rowcount
