"""Servers configured by URL: asked once before anything starts, so that a wrong address is one clear sentence."""

from urllib.parse import urlsplit

import psycopg

from services.core.errors import DependencyDown
from services.core.settings import Settings
from services.core.valkey import FAILED, connect


def require_servers(settings: Settings) -> None:
    """Check every configured server. Raises DependencyDown with the setting to look at."""
    if settings.database_url is not None:
        require_postgres(settings.database_url.get_secret_value())
    for name, url in (("REDIS", settings.redis_url), ("BROKER", settings.broker_url)):
        if url is not None and url.get_secret_value().startswith(("redis", "valkey")):
            require_redis(url.get_secret_value(), f"PORTRAIT_{name}_URL")


OLDEST_POSTGRES = 15

USABLE_VECTOR = """
SELECT e.installed_version IS NOT NULL OR u.usesuper
  OR EXISTS (SELECT FROM pg_available_extension_versions v WHERE v.name = e.name AND v.trusted)
FROM pg_available_extensions e, pg_user u WHERE e.name = 'vector' AND u.usename = current_user
"""
"""Whether pgvector is enabled or this role may enable it; no row where the server does not have it."""


def require_postgres(url: str) -> None:
    """Connect, and look for a version that is new enough and for pgvector, enabled or to be enabled by us."""
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            version = connection.info.server_version // 10_000
            row = connection.execute(USABLE_VECTOR).fetchone()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise DependencyDown(f"PORTRAIT_DATABASE_URL: {_place(url)} cannot be used: {reason}") from error
    if version < OLDEST_POSTGRES:
        raise DependencyDown(
            f"PORTRAIT_DATABASE_URL: the server at {_place(url)} is PostgreSQL {version}: Portrait needs "
            f"{OLDEST_POSTGRES} or newer"
        )
    if row is None:
        raise DependencyDown(
            f"PORTRAIT_DATABASE_URL: the server at {_place(url)} has no pgvector: install it there (on Debian the "
            "package postgresql-NN-pgvector), or unset the variable to use the embedded PostgreSQL"
        )
    if not row[0]:
        raise DependencyDown(
            f"PORTRAIT_DATABASE_URL: pgvector is not enabled in the database at {_place(url)}, and its role may not "
            "do it: have a superuser run `CREATE EXTENSION vector` in that database"
        )


def require_redis(url: str, setting: str) -> None:
    """Ping."""
    try:
        with connect(url, socket_timeout=5) as client:
            client.ping()
    except FAILED as error:
        raise DependencyDown(f"{setting}: {_place(url)} cannot be used: {error}") from error


def _place(url: str) -> str:
    """Host and port, without credentials."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'the local socket'}{f':{parts.port}' if parts.port else ''}"
