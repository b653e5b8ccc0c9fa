"""PostgreSQL from an event loop: a few threads run the statements, and more callers than they can serve are refused."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from services.core.errors import NotReady
from services.db.failures import unavailable
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
            NotReady: too many callers wait already, or others hold the same rows.
            DependencyDown: PostgreSQL does not answer, went away or cannot write; nothing acknowledged was lost.
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
        except (SQLAlchemyError, psycopg.Error) as error:
            failure = unavailable(error)
            if failure is None:
                raise
            raise failure from error

    def close(self) -> None:
        """Wait for what runs, then give the connections back."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()
