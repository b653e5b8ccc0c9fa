"""PostgreSQL and Valkey as real servers under a temporary home."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.runtime.postgres import EmbeddedPostgres
from services.runtime.valkey import EmbeddedValkey


@pytest.fixture
def own_home() -> Iterator[HomePaths]:
    folder = Path(tempfile.mkdtemp(prefix="pt-")).resolve()
    yield HomePaths(folder)
    EmbeddedPostgres(HomePaths(folder)).stop()
    EmbeddedValkey(HomePaths(folder)).stop()
    shutil.rmtree(folder)


def test_a_second_handle_adopts_the_running_server(own_home: HomePaths) -> None:
    first = EmbeddedPostgres(own_home).start()
    assert EmbeddedPostgres(own_home).start() == first
    valkey = EmbeddedValkey(own_home).start()
    assert EmbeddedValkey(own_home).start() == valkey


def test_committed_rows_survive_a_killed_postgres(own_home: HomePaths) -> None:
    server = EmbeddedPostgres(own_home)
    identity = server.start()
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    os.kill(identity.pid, signal.SIGKILL)
    assert server.start().pid != identity.pid
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_locks_of_a_dead_postgres_whose_pid_still_exists_hold_nobody_up(own_home: HomePaths) -> None:
    server = EmbeddedPostgres(own_home)
    server.start()
    server.stop()
    for lock in (server.data / "postmaster.pid", server.socket / ".s.PGSQL.5432.lock"):
        lock.write_text(f"{os.getpid()}\n{server.data}\n")
        lock.chmod(0o600)
    server.start()
    assert server.healthy()


def test_valkey_keeps_its_keys_and_its_port_over_a_restart(own_home: HomePaths) -> None:
    server = EmbeddedValkey(own_home)
    server.start()
    before = server.url()
    with redis.Redis.from_url(before) as client:
        client.set("kept", "7")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    server.stop()
    assert server.running() is None
    server.start()
    assert server.url() == before
    with redis.Redis.from_url(server.url()) as client:
        assert client.get("kept") == b"7"


def test_postgres_listens_on_its_socket_alone_and_has_pgvector(own_home: HomePaths) -> None:
    server = EmbeddedPostgres(own_home)
    server.start()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector").fetchone() == (2.0,)


def test_a_home_with_a_long_path_gets_a_short_socket(own_home: HomePaths) -> None:
    server = EmbeddedPostgres(HomePaths(own_home.home / ("x" * 90)))
    valkey = EmbeddedValkey(HomePaths(own_home.home / ("x" * 90)))
    try:
        server.start()
        valkey.start()
        assert len(str(server.socket)) < 80
        assert server.healthy() and valkey.healthy()
    finally:
        server.stop()
        valkey.stop()
        shutil.rmtree(server.socket)
        shutil.rmtree(valkey.socket.parent)


def test_each_module_gets_a_migrated_database_of_its_own(database: Addresses) -> None:
    with psycopg.connect(database.database_url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("t_test_runtime_servers",)
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
