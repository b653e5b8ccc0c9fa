"""Engines and transactions. A transaction is committed at the edge of a request or task, nowhere else."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from services.core.errors import DependencyDown
from services.db.failures import unavailable

LAST_USE = "last_use"
TRUSTED_S = 10.0
"""For so long after its use a connection on which nothing came in is taken as alive; to ask takes a round trip."""


def make_engine(sqlalchemy_url: str, *, pool_size: int = 5, statement_timeout_ms: int = 0) -> Engine:
    """An engine on psycopg 3 with UTC sessions. `statement_timeout_ms` = 0 leaves statements unbounded."""
    options = f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}"
    engine = create_engine(
        sqlalchemy_url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"options": options, "application_name": "portrait", "connect_timeout": 5},
    )
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _check_alive)
    return engine


def _note_use(_dbapi_connection: psycopg.Connection | None, record: ConnectionPoolEntry) -> None:
    record.info[LAST_USE] = time.monotonic()


def _check_alive(dbapi_connection: psycopg.Connection, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Have the pool connect anew when the server went away meanwhile: of a connection in use lately the system knows.

    SQLAlchemy's own check sends an empty statement as any other, which psycopg prepares under a new name each time,
    since an empty answer is none: a backend kept them all, some hundred bytes a transaction.
    """
    if time.monotonic() - record.info.get(LAST_USE, -inf) < TRUSTED_S and not _has_heard(dbapi_connection):
        return
    before = dbapi_connection.autocommit
    try:
        dbapi_connection.autocommit = True
        dbapi_connection.execute("", prepare=False)
        dbapi_connection.autocommit = before
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise InvalidatePoolError from error


def _has_heard(connection: psycopg.Connection) -> bool:
    """Whether something came in unasked: that the server ends, most likely."""
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    return bool(heard.poll(0))


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction: committed when the block ends, rolled back when it raises.

    Raises:
        DependencyDown: Postgres cannot be reached, with the cure.
    """
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise unavailable(error) or DependencyDown("PostgreSQL does not answer: see `portrait doctor`") from error
    with connection, connection.begin():
        yield connection


def raw(connection: Connection) -> psycopg.Connection:
    """The psycopg connection under a SQLAlchemy one, for COPY; it shares the open transaction."""
    return connection.connection.driver_connection


def planner_for_point_in_time(engine: Engine) -> Engine:
    """Turn nested loops off on every connection: point-in-time joins are 50 times faster (docs/performance.md)."""

    @event.listens_for(engine, "connect")
    def _settings(dbapi_connection: psycopg.Connection, _record: object) -> None:
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SET enable_nestloop = off")
        dbapi_connection.commit()

    return engine


def planner_for_the_tail(engine: Engine) -> Engine:
    """Plan each statement once and use the indexes: what a tail reads is always little, in a log of any size.

    Commits do not wait for the disk: what a crash takes back was derived, and is derived again.
    """

    @event.listens_for(engine, "connect")
    def _settings(dbapi_connection: psycopg.Connection, _record: object) -> None:
        dbapi_connection.prepare_threshold = 0
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SET plan_cache_mode = force_generic_plan")
            cursor.execute("SET enable_seqscan = off")
            cursor.execute("SET synchronous_commit = off")
        dbapi_connection.commit()

    return engine
