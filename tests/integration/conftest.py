"""A tail on the database of a test, which holds a small shop without events (`tail_shop`)."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from tail_shop import empty_shop, settle, tailing

from services.core.addresses import Addresses
from services.db.session import make_engine
from services.profiles.tail import Tail


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=4)
    empty_shop(made)
    yield made
    made.dispose()


@pytest.fixture
def tail(engine: Engine, database: Addresses) -> Iterator[Tail]:
    with tailing(database.sqlalchemy_url) as made:
        settle(made)
        yield made
