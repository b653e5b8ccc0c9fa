"""Run Alembic from Python: `python -m services.db.migrate` upgrades the configured database to the newest revision."""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from services.core.addresses import resolve_addresses
from services.core.settings import get_settings

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def alembic_config(sqlalchemy_url: str) -> Config:
    """Alembic's configuration for one database, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = sqlalchemy_url
    return config


def upgrade(sqlalchemy_url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`."""
    command.upgrade(alembic_config(sqlalchemy_url), revision)


def downgrade(sqlalchemy_url: str, revision: str = "base") -> None:
    """Take the database down to `revision`."""
    command.downgrade(alembic_config(sqlalchemy_url), revision)


def main() -> int:
    upgrade(resolve_addresses(get_settings()).sqlalchemy_url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
