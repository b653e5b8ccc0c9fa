"""A full recompute in parts that any number of processes take: each part once, whoever dies on the way.

A part is taken by locking its row in a transaction of its own: with the connection of a process that dies the lock
goes, and the part is there for the next one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from services.db.session import raw, transaction

LONGEST_PART = timedelta(minutes=10)
"""After so long without a word, a worker that holds a part is taken for gone."""

FORGOTTEN_AFTER = timedelta(hours=12)
"""A run that nobody has finished in half a day is not gone on with."""

_RUN = "run_id, as_of, from_states, reference_version, began::text, pool_users, pool_events"


@dataclass(frozen=True)
class SharedRun:
    """A run as all its processes see it; see `services.db.models.recomputes.RecomputeRun`."""

    run_id: UUID
    as_of: datetime
    from_states: bool
    reference_version: int
    began: str
    pool_users: list[str]
    pool_events: list[int]


@dataclass
class TakenPart:
    """A part that this process computes; it leaves its `report` there."""

    user_ids: list[str]
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """How far a run is: events of all parts and of those done, and how many parts are not done."""

    events: int
    done: int
    open_parts: int


def run_to_go_on_with(connection: Connection, name: str, reference_version: int, from_states: bool) -> SharedRun | None:
    """The run of this name whose process ended before it did, where what is left of it is still worth doing; another
    run of this name, and any that is forgotten, is removed."""
    driver = raw(connection)
    driver.execute(
        "DELETE FROM recompute_runs WHERE created_at < now() - %s "
        "OR (name = %s AND (reference_version, from_states) IS DISTINCT FROM (%s, %s))",
        (FORGOTTEN_AFTER, name, reference_version, from_states),
    )
    return _one(connection, "name = %s", name)


def begin_run(connection: Connection, name: str, run: SharedRun, parts: Sequence[tuple[list[str], int]]) -> None:
    """Store a run and its parts, each some user ids and the number of their events."""
    driver = raw(connection)
    driver.execute(
        "INSERT INTO recompute_runs "
        "(run_id, name, as_of, from_states, reference_version, began, pool_users, pool_events) "
        "VALUES (%s, %s, %s, %s, %s, %s::pg_snapshot, %s, %s)",
        (
            run.run_id,
            name,
            run.as_of,
            run.from_states,
            run.reference_version,
            run.began,
            run.pool_users,
            run.pool_events,
        ),
    )
    with (
        driver.cursor() as cursor,
        cursor.copy("COPY recompute_parts (run_id, part, user_ids, events) FROM STDIN") as copy,
    ):
        for number, (user_ids, events) in enumerate(parts):
            copy.write_row((run.run_id, number, user_ids, events))


def find_run(connection: Connection, run_id: UUID) -> SharedRun | None:
    """A run that is not over."""
    return _one(connection, "run_id = %s", run_id)


@contextmanager
def taken_part(engine: Engine, run_id: UUID) -> Iterator[TakenPart | None]:
    """A part that nobody has taken, for the block; None when there is none. It is done when the block ends, and free
    again when it raises."""
    with transaction(engine) as connection:
        driver = raw(connection)
        driver.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, true)",
            (f"{LONGEST_PART.total_seconds():.0f}s",),
        )
        row = driver.execute(
            "SELECT part, user_ids FROM recompute_parts WHERE run_id = %s AND report IS NULL "
            "ORDER BY part FOR UPDATE SKIP LOCKED LIMIT 1",
            (run_id,),
        ).fetchone()
        if row is None:
            yield None
            return
        part = TakenPart(row[1])
        yield part
        driver.execute(
            "UPDATE recompute_parts SET report = %s WHERE run_id = %s AND part = %s",
            (Jsonb(part.report), run_id, row[0]),
        )


def standing(connection: Connection, run_id: UUID) -> Standing:
    """How far a run is."""
    row = (
        raw(connection)
        .execute(
            "SELECT coalesce(sum(events), 0)::bigint, "
            "coalesce(sum(events) FILTER (WHERE report IS NOT NULL), 0)::bigint, "
            "count(*) FILTER (WHERE report IS NULL) FROM recompute_parts WHERE run_id = %s",
            (run_id,),
        )
        .fetchone()
    )
    return Standing(*row) if row else Standing(0, 0, 0)


def reports(connection: Connection, run_id: UUID) -> list[dict[str, Any]]:
    """What the parts that are done have reported."""
    rows = raw(connection).execute(
        "SELECT report FROM recompute_parts WHERE run_id = %s AND report IS NOT NULL ORDER BY part", (run_id,)
    )
    return [report for (report,) in rows]


def end_run(connection: Connection, run_id: UUID) -> None:
    """Forget a run: who works on a part of it finishes that and finds no other."""
    raw(connection).execute("DELETE FROM recompute_runs WHERE run_id = %s", (run_id,))


def _one(connection: Connection, condition: str, value: object) -> SharedRun | None:
    row = raw(connection).execute(f"SELECT {_RUN} FROM recompute_runs WHERE {condition}", (value,)).fetchone()
    return None if row is None else SharedRun(*row)
