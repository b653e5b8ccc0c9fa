"""What Postgres remembers of the marks in the online store (`services.profiles.online_marks`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from services.db.session import raw


@dataclass(frozen=True)
class StoredMark:
    """The last mark of a partition that was written, and the run of the server it was written to."""

    partition: int
    mark: datetime | None
    run_id: str | None


def read_marks(connection: Connection) -> list[StoredMark]:
    """The marks of all partitions."""
    rows = raw(connection).execute("SELECT partition, mark, store_run_id FROM tail_partitions ORDER BY partition")
    return [StoredMark(*row) for row in rows.fetchall()]


def write_marks(connection: Connection, partitions: Sequence[int], mark: datetime, run_id: str) -> None:
    """Remember that the marks were written."""
    raw(connection).execute(
        "UPDATE tail_partitions SET mark = %s, store_run_id = %s WHERE partition = ANY(%s)",
        (mark, run_id, list(partitions)),
    )


def unpublished(connection: Connection) -> bool:
    """Whether a user waits to be published."""
    row = raw(connection).execute("SELECT EXISTS (SELECT FROM pending_users WHERE reason = 'publish')").fetchone()
    return bool(row and row[0])


def database_time(connection: Connection) -> datetime:
    """The time now by the database's clock, which stamps the states."""
    row = raw(connection).execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0]
