"""What a failure of PostgreSQL means for whoever asked: nothing was stored, and a sentence with the cure."""

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.core.errors import DependencyDown, NotReady, PortraitError

RETRIED = frozenset({"40P01", "40001"})
"""Deadlock and serialization failure: the same transaction may well succeed when it is run again."""

CURES = {
    "53100": "PostgreSQL's disk is full: free space on it; nothing was stored, so send this again afterwards",
    "53200": "PostgreSQL is out of memory: lower work_mem or stop other load, then send this again",
    "53300": "PostgreSQL has no connection left: raise max_connections or stop other clients, then send this again",
    "25006": "PostgreSQL is read-only (a standby?): point PORTRAIT_DATABASE_URL to the primary, then send this again",
    "57P01": "PostgreSQL is stopping: send this again in a moment",
    "57P02": "PostgreSQL was interrupted by a crash: send this again in a moment",
    "57P03": "PostgreSQL is starting: send this again in a moment",
}
"""The cure by SQLSTATE, where it is not simply to try again."""

BUSY = {
    "55P03": "Another transaction, such as a running import, is writing the same rows: send this again in a moment",
    "57014": "PostgreSQL took too long over this: send it again in a moment, or in smaller requests",
    "40P01": "Other transactions keep getting in this one's way: send it again in a moment",
    "40001": "Other transactions keep getting in this one's way: send it again in a moment",
}
FULL = ("too many clients", "remaining connection slots", "too many connections")
DOWN = "PostgreSQL does not answer: try again in a moment, and see `portrait doctor` if it lasts"


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five-character code of a driver's or SQLAlchemy's error, None where there is none."""
    cause = getattr(error, "orig", None) or error
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def unavailable(error: BaseException) -> PortraitError | None:
    """The failure to answer where the server's state is to blame and a retry may help; None where the rows are."""
    if isinstance(error, PoolTimeout):
        return NotReady("All connections to PostgreSQL are in use: send this again in a moment")
    cause = getattr(error, "orig", None) or error
    state = sqlstate(error)
    if state in BUSY:
        return NotReady(BUSY[state])
    if state in CURES:
        return DependencyDown(CURES[state])
    if any(text in str(cause) for text in FULL):
        return DependencyDown(CURES["53300"])
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return DependencyDown(DOWN)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return DependencyDown(DOWN)
    return None
