"""The servers behind Feast's stores, from URLs as people write them."""

from pathlib import Path

import pytest
import redis
from sqlalchemy.engine import make_url

from services.core.addresses import Addresses, write_addresses
from services.core.errors import ConfigurationError, NotRunning
from services.core.settings import get_settings
from services.features import store_addresses
from services.features.store_addresses import postgres_fields, redis_client_url, registry_url, settings_addresses

EMBEDDED = "postgresql://me@/portrait?host=/tmp/folder%20one/socket"


def addresses(
    database: str = EMBEDDED, redis_url: str = "redis://127.0.0.1:6380/0", socket: str | None = None
) -> Addresses:
    return Addresses(database_url=database, redis_url=redis_url, broker_url=redis_url, redis_socket=socket)


def test_an_embedded_database_is_reached_over_its_socket_folder() -> None:
    fields = postgres_fields(addresses())
    assert (fields["host"], fields["user"], fields["database"]) == ("/tmp/folder one/socket", "me", "portrait")
    assert (fields["password"], fields["sslmode"]) == ("", "disable")


def test_an_external_database_keeps_password_port_and_tls() -> None:
    url = "postgresql://shop:p%40ss%2C%3D%25%3A@db.example:6432/portrait?sslmode=verify-full&sslrootcert=/ca.pem"
    fields = postgres_fields(addresses(url))
    assert fields == {
        "host": "db.example",
        "port": 6432,
        "user": "shop",
        "password": "p@ss,=%:",
        "database": "portrait",
        "sslmode": "verify-full",
        "sslkey_path": None,
        "sslcert_path": None,
        "sslrootcert_path": "/ca.pem",
    }


def test_several_hosts_are_refused_with_the_cure() -> None:
    with pytest.raises(ConfigurationError, match="names several hosts"):
        postgres_fields(addresses("postgresql://u@one,two/portrait"))


def test_the_registry_lives_in_its_own_schema_and_keeps_the_password() -> None:
    url = make_url(registry_url(addresses("postgresql://shop:p%40ss@db:6432/portrait?options=-cstatement_timeout%3D5")))
    assert (url.drivername, url.password, url.port) == ("postgresql+psycopg", "p@ss", 6432)
    assert url.query["options"] == "-cstatement_timeout=5 -csearch_path=feast"


def test_the_unix_socket_is_preferred_and_keeps_the_database_number() -> None:
    url = redis_client_url(addresses(redis_url="redis://127.0.0.1:6380/3", socket="/tmp/a b/valkey.sock"))
    options = redis.Redis.from_url(url).connection_pool.connection_kwargs
    assert (options["path"], options["db"]) == ("/tmp/a b/valkey.sock", 3)


def test_an_external_redis_url_is_taken_as_it_is() -> None:
    url = "rediss://worker:p%2C%3Dss@cache.example:6390/2"
    pool = redis.Redis.from_url(redis_client_url(addresses(redis_url=url))).connection_pool
    assert pool.connection_class is redis.SSLConnection
    options = pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("cache.example", 6390, 2)
    assert (options["username"], options["password"]) == ("worker", "p,=ss")


def test_the_feast_command_finds_the_stack_beside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = addresses()
    write_addresses(tmp_path / ".portrait", found)
    (tmp_path / "feature_repo").mkdir()
    monkeypatch.setattr(store_addresses, "CHECKOUT", tmp_path)
    monkeypatch.chdir(tmp_path / "feature_repo")
    get_settings.cache_clear()
    try:
        assert settings_addresses() == found
        monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "elsewhere"))
        get_settings.cache_clear()
        with pytest.raises(NotRunning):
            settings_addresses()
    finally:
        get_settings.cache_clear()
