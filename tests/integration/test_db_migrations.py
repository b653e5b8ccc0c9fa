"""Revisions on a real server: up, down, up again, and the models say what the database has."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from psycopg import sql

from services.db.migrate import alembic_config, downgrade, upgrade
from services.runtime.postgres import EmbeddedPostgres

NAME = "t_migrations"


@pytest.fixture
def empty_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """URL (libpq) of a database without anything."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME))
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))
    yield postgres_server.url(NAME)
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(drop)


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def objects(url: str) -> set[tuple[str, str]]:
    """(kind, name) of every table, index, sequence and function in the schema."""
    with psycopg.connect(url) as connection:
        relations = connection.execute(
            "SELECT relkind::text, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_class.oid AND d.deptype = 'e')"
        ).fetchall()
        functions = connection.execute(
            "SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
            "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e')"
        ).fetchall()
    return {*relations, *functions}


def test_down_leaves_nothing_and_up_again_makes_the_same(empty_database):
    url = sqlalchemy_url(empty_database)
    upgrade(url)
    first = objects(empty_database)
    assert ("p", "events") in first
    downgrade(url)
    assert {name for _, name in objects(empty_database)} <= {"alembic_version", "alembic_version_pkc"}
    upgrade(url)
    assert objects(empty_database) == first


def test_upgrading_twice_changes_nothing(empty_database):
    url = sqlalchemy_url(empty_database)
    upgrade(url)
    first = objects(empty_database)
    upgrade(url)
    assert objects(empty_database) == first


def test_the_models_describe_the_database(empty_database):
    url = sqlalchemy_url(empty_database)
    upgrade(url)
    command.check(alembic_config(url))


def test_a_partition_has_the_indexes_of_its_parent(empty_database):
    upgrade(sqlalchemy_url(empty_database))
    with psycopg.connect(empty_database) as connection:
        connection.execute("SELECT ensure_event_partition('2026-02-10T00:00:00Z')")
        connection.execute("SELECT ensure_event_partition('2026-02-28T23:59:59Z')")
        bound = connection.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'events_2026_02'"
        ).fetchone()[0]
        attached = connection.execute(
            "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "JOIN pg_index x ON x.indexrelid = c.oid WHERE x.indrelid = 'events_2026_02'::regclass"
        ).fetchone()[0]
        indexes = connection.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'events'::regclass").fetchone()[0]
    assert bound == "FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-03-01 00:00:00+00')"
    assert attached == indexes
