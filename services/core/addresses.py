"""Where the servers are: the configured URLs, or what the embedded runtime wrote under `PORTRAIT_HOME`."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from services.core.errors import ConfigurationError, NotRunning
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.core.valkey import is_cluster


@dataclass(frozen=True)
class Addresses:
    """Resolved addresses of one stack.

    `database_url` is a libpq URL (`postgresql://user@/db?host=/socket/folder` when embedded); `redis_url` and
    `broker_url` are `redis://…`; `redis_socket` is the Unix socket of the online store where one exists.
    """

    database_url: str
    redis_url: str
    broker_url: str
    redis_socket: str | None = None
    http_url: str | None = None

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with SQLAlchemy's psycopg 3 driver named."""
        return "postgresql+psycopg://" + self.database_url.split("://", 1)[1]

    def __repr__(self) -> str:
        return f"Addresses(http_url={self.http_url!r})"  # URLs may carry passwords: none in logs


def write_addresses(home: Path, addresses: Addresses) -> None:
    """Record the embedded stack's addresses atomically, readable by this user alone."""
    path = HomePaths(home).addresses
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(asdict(addresses), file, indent=1)
    Path(file.name).replace(path)


def read_addresses(home: Path) -> Addresses | None:
    """The addresses an embedded stack recorded under `home`, or None."""
    path = HomePaths(home).addresses
    try:
        return Addresses(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def resolve_addresses(settings: Settings) -> Addresses:
    """Configured URLs first, the embedded stack's for what is not configured.

    Raises:
        NotRunning: neither a URL is set nor an embedded stack has written its addresses.
        ConfigurationError: the broker would be a cluster.
    """
    embedded = read_addresses(settings.home)
    database = settings.database_url.get_secret_value() if settings.database_url else None
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    if database is None and embedded is not None:
        database = embedded.database_url
    if redis is None and embedded is not None:
        redis = embedded.redis_url
    if database is None or redis is None:
        raise NotRunning(settings.home)
    broker = settings.broker_url.get_secret_value() if settings.broker_url else None
    if is_cluster(broker or redis) and (broker is not None or settings.redis_url is not None):
        raise ConfigurationError("PORTRAIT_BROKER_URL: Celery needs one server, not a cluster: name another Valkey")
    if broker is None:
        broker = embedded.broker_url if embedded is not None and settings.redis_url is None else redis
    return Addresses(
        database_url=database,
        redis_url=redis,
        broker_url=broker,
        redis_socket=embedded.redis_socket if embedded is not None and settings.redis_url is None else None,
        http_url=embedded.http_url if embedded is not None else None,
    )
