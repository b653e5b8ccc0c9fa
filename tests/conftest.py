"""Real servers for tests: one PostgreSQL and one Valkey a session, one fresh migrated database a test module.

With pytest-xdist each worker process has servers of its own, so tests run in parallel and share nothing.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before any library reads it: tests never call a hub

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from services.core.addresses import Addresses, write_addresses
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.migrate import upgrade
from services.runtime.postgres import EmbeddedPostgres, PostgresConfig
from services.runtime.valkey import BROKER_DB, ONLINE_STORE_DB, EmbeddedValkey, ValkeyConfig

TEMPLATE = "portrait_template"


@pytest.fixture(scope="session", autouse=True)
def _no_configuration_of_the_developer() -> Iterator[None]:
    """A developer's PORTRAIT_* variables must not decide what a test does."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if _is_setting(name)}
    yield
    os.environ.update(kept)


def _is_setting(name: str) -> bool:
    return name.startswith("PORTRAIT_") and not name.startswith("PORTRAIT_TEST_")


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home for the session, short enough for Unix sockets; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pt-")).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(home: Path) -> Iterator[EmbeddedPostgres]:
    """PostgreSQL 18 with pgvector, without fsync."""
    server = EmbeddedPostgres(HomePaths(home), PostgresConfig(shared_buffers="128MB", durable=False))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey_server(home: Path) -> Iterator[EmbeddedValkey]:
    """Valkey 9 without its append-only file."""
    server = EmbeddedValkey(HomePaths(home), ValkeyConfig(durable=False))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def addresses(home: Path, postgres_server: EmbeddedPostgres, valkey_server: EmbeddedValkey) -> Addresses:
    """The session's servers, recorded in the home as `portrait up` does. The database `portrait` is empty."""
    found = Addresses(
        database_url=postgres_server.url(),
        redis_url=valkey_server.url(ONLINE_STORE_DB),
        broker_url=valkey_server.url(BROKER_DB),
        redis_socket=str(valkey_server.socket),
    )
    write_addresses(home, found)
    return found


@pytest.fixture(scope="session")
def settings(home: Path) -> Settings:
    """Settings whose home is the session's. For code that resolves addresses itself, see `database_settings`."""
    return Settings(home=home)


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedPostgres) -> str:
    """Name of a database migrated once; each module's database is a copy of it."""
    _execute(postgres_server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    upgrade(postgres_server.url(TEMPLATE).replace("postgresql://", "postgresql+psycopg://", 1))
    return TEMPLATE


@pytest.fixture(scope="module")
def database(
    request: pytest.FixtureRequest,
    home: Path,
    addresses: Addresses,
    postgres_server: EmbeddedPostgres,
    template_database: str,
) -> Iterator[Addresses]:
    """A migrated, empty database for this test module and an empty Valkey; both are gone afterwards.

    The home's recorded addresses point to it meanwhile, so that `resolve_addresses(settings)` finds it too.
    """
    name = "t_" + request.module.__name__.rsplit(".", 1)[-1][:50].lower()
    identifier = sql.Identifier(name)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier)
    _execute(postgres_server, drop)
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(identifier, sql.Identifier(template_database))
    _execute(postgres_server, copy)
    with redis.Redis.from_url(addresses.redis_url) as client:
        client.flushall()
    own = replace(addresses, database_url=postgres_server.url(name))
    write_addresses(home, own)
    yield own
    write_addresses(home, addresses)
    _execute(postgres_server, drop)


@pytest.fixture
def database_settings(home: Path, database: Addresses) -> Settings:
    """Settings that name the module's database by URL: what a subprocess or a server is to be given."""
    return Settings(home=home, database_url=database.database_url, redis_url=database.redis_url)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real input files; skips where there is none."""
    named = os.environ.get("PORTRAIT_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real input here: set PORTRAIT_TEST_DATA to its folder")
    return folder


def _execute(server: EmbeddedPostgres, statement: sql.Composed) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statement)
