"""PostgreSQL from an event loop: a few threads run the statements, and more callers than they can serve are refused."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.core.errors import DependencyDown, NotReady
from services.db.session import transaction

T = TypeVar("T")

THREADS = 4
MAX_WAITING = 200


class Database:
    """Runs functions of a connection, each in a transaction of its own."""

    def __init__(self, engine: Engine, *, threads: int = THREADS) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._pending = 0

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, after its transaction has been committed. Raises as `call` does."""
        return await self.call(lambda: self.transact(work))

    async def call(self, work: Callable[[], T]) -> T:
        """What `work` returns, run in one of the threads; `transact` is for its use.

        Raises:
            NotReady: too many callers wait already.
            DependencyDown: PostgreSQL does not answer or went away; nothing was committed that was acknowledged.
        """
        if self._pending >= MAX_WAITING:
            raise NotReady("Too many writes are waiting for PostgreSQL: send this one again in a moment")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, on the caller's thread."""
        try:
            with transaction(self._engine) as connection:
                return work(connection)
        except (OperationalError, InterfaceError, PoolTimeout, psycopg.OperationalError) as error:
            raise _down() from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise _down() from error
            raise

    def close(self) -> None:
        """Wait for what runs, then give the connections back."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()


def _down() -> DependencyDown:
    return DependencyDown("PostgreSQL does not answer: try again in a moment, and see `portrait doctor` if it lasts")
