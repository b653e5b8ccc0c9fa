"""Connections that are used again and again: they come back after a server's restart, and leave nothing behind."""

from sqlalchemy import text

from services.core.addresses import Addresses
from services.db.session import make_engine, planner_for_the_tail, transaction

KILL = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE pid = :pid"


def test_many_transactions_leave_no_prepared_statements_behind(database: Addresses) -> None:
    for engine in (make_engine(database.sqlalchemy_url, pool_size=1),
                   planner_for_the_tail(make_engine(database.sqlalchemy_url, pool_size=1))):  # fmt: skip
        for _ in range(50):
            with transaction(engine) as connection:
                connection.execute(text("SELECT 1"))
        with transaction(engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one() < 10
        engine.dispose()


def test_a_connection_that_was_cut_is_made_anew(database: Addresses) -> None:
    engine, other = (make_engine(database.sqlalchemy_url, pool_size=1) for _ in range(2))
    with transaction(engine) as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with transaction(other) as connection:
        assert connection.execute(text(KILL), {"pid": pid}).scalar_one() == 1
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid
    for each in (engine, other):
        each.dispose()
