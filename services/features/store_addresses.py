"""The servers behind Feast's stores: explicit addresses in services, the settings' for the `feast` command.

Feast reads `feature_repo/feature_store.yaml`, which names no server. The stores' configurations default to what is
resolved here, and the registry's SQLAlchemy URL is filled in by `SettingsUrl`, a SQLAlchemy engine plug-in.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, make_url

from services.core.addresses import Addresses, read_addresses, resolve_addresses
from services.core.errors import ConfigurationError
from services.core.settings import Settings, get_settings

REGISTRY_SCHEMA = "feast"
PLUGIN = "portrait"
CHECKOUT = Path(__file__).resolve().parents[2]


def settings_addresses() -> Addresses:
    """The addresses of this process's settings.

    A default home is looked for in the working folder, and then beside `feature_repo/`, where `portrait up` puts it.

    Raises:
        NotRunning: nothing is configured and no embedded stack is found.
    """
    settings = get_settings()
    if "home" not in settings.model_fields_set and read_addresses(settings.home) is None:
        settings = settings.model_copy(update={"home": CHECKOUT / Settings.model_fields["home"].default})
    return resolve_addresses(settings)


def registry_url(addresses: Addresses) -> str:
    """The SQLAlchemy URL of the registry: the database, with `REGISTRY_SCHEMA` as search path."""
    url = make_url(addresses.sqlalchemy_url)
    options = f"{url.query.get('options', '')} -csearch_path={REGISTRY_SCHEMA}".strip()
    return url.update_query_dict({"options": options}).render_as_string(hide_password=False)


def redis_client_url(addresses: Addresses) -> str:
    """The online store's URL as redis-py reads it: over the Unix socket where there is one."""
    if addresses.redis_socket is None:
        return addresses.redis_url
    database = addresses.redis_url.rpartition("/")[2]
    return f"unix://{quote(addresses.redis_socket)}?db={database if database.isdigit() else 0}"


def postgres_fields(addresses: Addresses) -> dict[str, Any]:
    """The database URL as the fields of Feast's PostgreSQL configuration.

    Raises:
        ConfigurationError: the URL names several hosts, which Feast cannot address.
    """
    found = conninfo_to_dict(addresses.database_url)
    host, port = str(found.get("host") or "localhost"), str(found.get("port") or 5432)
    if "," in host or "," in port:
        raise ConfigurationError("PORTRAIT_DATABASE_URL names several hosts: Feast needs one, for instance a proxy's")
    user = str(found.get("user") or "postgres")
    return {
        "host": host,
        "port": int(port),
        "user": user,
        "password": str(found.get("password") or ""),
        "database": str(found.get("dbname") or user),
        "sslmode": found.get("sslmode") or ("disable" if host.startswith("/") else "prefer"),
        "sslkey_path": found.get("sslkey"),
        "sslcert_path": found.get("sslcert"),
        "sslrootcert_path": found.get("sslrootcert"),
    }


class SettingsUrl(CreateEnginePlugin):
    """`postgresql+psycopg://?plugin=portrait` means the configured database, searched in the registry's schema."""

    def update_url(self, url: URL) -> URL:
        return make_url(registry_url(settings_addresses()))


def register_plugin() -> None:
    """Make `SettingsUrl` known to SQLAlchemy."""
    plugins.register(PLUGIN, __name__, SettingsUrl.__name__)
