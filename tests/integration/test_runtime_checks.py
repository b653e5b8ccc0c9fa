"""What the doctor finds on real servers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis

from services.core.addresses import Addresses
from services.core.settings import Settings
from services.runtime.checks import Level, check_disk, check_exposure, check_home, check_postgres, check_valkey
from services.runtime.postgres import EmbeddedPostgres


@pytest.fixture
def valkey(addresses: Addresses) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(addresses.redis_url) as client:
        yield client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "no")


def test_a_migrated_database_with_pgvector_is_in_order(settings: Settings, database: Addresses) -> None:
    finding = check_postgres(settings, database)
    assert (finding.level, finding.cure) == (Level.OK, None)
    assert "pgvector" in finding.found


def test_a_database_without_the_extension_is_told_from_a_dead_server(
    settings: Settings, addresses: Addresses, postgres_server: EmbeddedPostgres
) -> None:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    bare = check_postgres(settings, replace(addresses, database_url=postgres_server.url("bare")))
    assert bare.level is Level.WRONG and "not enabled" in bare.found
    gone = check_postgres(settings, replace(addresses, database_url="postgresql://postgres@127.0.0.1:1/x"))
    assert gone.level is Level.WRONG and gone.found.startswith("no connection")
    assert "portrait up" in (gone.cure or "")


def test_a_valkey_that_may_evict_is_wrong_and_one_that_forgets_is_a_warning(
    settings: Settings, addresses: Addresses, valkey: redis.Redis
) -> None:
    assert check_valkey(settings, addresses).level is Level.WARNING
    valkey.config_set("appendonly", "yes")
    assert check_valkey(settings, addresses).level is Level.OK
    valkey.config_set("maxmemory-policy", "allkeys-lru")
    finding = check_valkey(settings, addresses)
    assert finding.level is Level.WRONG and "allkeys-lru" in finding.found


def test_an_unreachable_configured_server_points_to_its_setting(addresses: Addresses, home: Path) -> None:
    settings = Settings(home=home, redis_url="redis://127.0.0.1:1/0")
    finding = check_valkey(settings, replace(addresses, redis_url="redis://127.0.0.1:1/0"))
    assert finding.level is Level.WRONG
    assert "PORTRAIT_REDIS_URL" in (finding.cure or "")


def test_a_home_that_others_can_write_is_wrong(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert check_home(Settings(home=tmp_path)).level is Level.WRONG
    tmp_path.chmod(0o700)
    assert check_home(Settings(home=tmp_path)).level is Level.OK
    assert check_disk(Settings(home=tmp_path / "not" / "there")).found.endswith(str(tmp_path))


def test_short_api_keys_are_a_warning() -> None:
    assert check_exposure(Settings(bind="0.0.0.0", api_keys="short")).level is Level.WARNING
    assert check_exposure(Settings(bind="0.0.0.0", api_keys="a" * 64)).level is Level.OK
