"""What ails PostgreSQL, told with its cure; failures of the rows themselves are no business of a retry."""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.db.failures import unavailable


@pytest.mark.parametrize(
    ("error", "code", "cure"),
    [
        (errors.DiskFull("could not extend file"), "dependency-down", "free space"),
        (errors.ReadOnlySqlTransaction("cannot execute INSERT"), "dependency-down", "primary"),
        (errors.TooManyConnections("…"), "dependency-down", "max_connections"),
        (psycopg.OperationalError("FATAL: sorry, too many clients already"), "dependency-down", "max_connections"),
        (psycopg.OperationalError("remaining connection slots are reserved"), "dependency-down", "max_connections"),
        (errors.AdminShutdown("terminating connection"), "dependency-down", "stopping"),
        (psycopg.OperationalError("server closed the connection unexpectedly"), "dependency-down", "portrait doctor"),
        (psycopg.InterfaceError("connection already closed"), "dependency-down", "portrait doctor"),
        (errors.LockNotAvailable("canceling statement"), "not-ready", "import"),
        (errors.QueryCanceled("statement timeout"), "not-ready", "took too long"),
        (errors.DeadlockDetected("deadlock detected"), "not-ready", "again"),
        (PoolTimeout(), "not-ready", "in use"),
        (OperationalError("COMMIT", {}, errors.DiskFull("…")), "dependency-down", "free space"),
    ],
)
def test_a_failing_server_is_a_503_with_its_cure(error: Exception, code: str, cure: str):
    failure = unavailable(error)
    assert failure is not None
    assert (failure.status, failure.code) == (503, code)
    assert cure in failure.detail and "again" in failure.detail


@pytest.mark.parametrize(
    "error",
    [errors.CheckViolation("…"), DataError("INSERT", {}, errors.NumericValueOutOfRange("…")), ValueError("…")],
)
def test_what_the_rows_are_to_blame_for_is_not_for_the_server_to_cure(error: Exception):
    assert unavailable(error) is None
