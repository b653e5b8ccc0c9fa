"""Alembic's entry: online migrations against Portrait's configured database."""

from alembic import context
from sqlalchemy import create_engine, pool

from services.core.addresses import resolve_addresses
from services.core.settings import get_settings
from services.db.models import Base

LOCK = 0x706F7274  # one migration at a time, whichever host starts it


def run() -> None:
    url = context.config.attributes.get("url") or resolve_addresses(get_settings()).sqlalchemy_url
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LOCK})")
        connection.commit()
    engine.dispose()


run()
