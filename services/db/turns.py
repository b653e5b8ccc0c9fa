"""One process at a time, of all hosts: a lock of PostgreSQL that lives as long as its holder's connection."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text


@contextmanager
def in_turn(engine: Engine, name: str) -> Iterator[None]:
    """Wait until no other process is in a block of this name. Takes a connection of its own for the block."""
    with engine.connect() as owner:
        owner.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": name})
        owner.commit()
        try:
            yield
        finally:
            owner.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), {"name": name})
            owner.commit()
