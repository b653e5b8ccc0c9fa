"""Losses of the online store that its marks show, against real PostgreSQL, with the clock moved by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from tail_shop import DAY, NOW, add, empty_shop, settle, tailing

from services.core.addresses import Addresses
from services.core.live_keys import READY
from services.db.session import make_engine, transaction
from services.profiles.online_marks import MarkKeeper

HOUR = timedelta(hours=1)
EVERYBODY = range(16)
USERS = [f"user-{n}" for n in range(6)]


@dataclass
class Store:
    """The marks of an online store in memory."""

    run_id: str = "first"
    marks: Mapping[int, datetime] = field(default_factory=dict)
    status: str | None = READY

    def read(self, partitions: Sequence[int]) -> "Store":
        return self

    def write(self, partitions: Sequence[int], mark: datetime) -> None:
        self.marks = {**self.marks, **dict.fromkeys(partitions, mark)}

    def set_status(self, status: str, since: float) -> None:
        self.status = status


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=4)
    empty_shop(made)
    with tailing(database.sqlalchemy_url) as tail:
        settle(tail)
        add(made, *((f"e-{user}", user, "lips-1", "purchase", NOW - DAY) for user in USERS))
        settle(tail)
    yield made
    made.dispose()


def waiting(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return list(connection.execute(text("SELECT user_id FROM pending_users ORDER BY 1")).scalars())


def stamped(engine: Engine, ago: timedelta) -> None:
    """All states and marks are from so long ago."""
    with transaction(engine) as connection:
        connection.execute(text("UPDATE user_states SET updated_at = now() - :ago"), {"ago": ago})
        statement = "UPDATE tail_partitions SET mark = now() - :ago, store_run_id = 'first'"
        connection.execute(text(statement), {"ago": ago})


def test_a_dump_of_before_the_clock_was_set_back_is_written_anew(engine: Engine):
    stamped(engine, timedelta(minutes=5))
    store = Store(marks=dict.fromkeys(EVERYBODY, datetime.now(UTC) + HOUR))
    assert MarkKeeper(engine, store).check(EVERYBODY)
    assert waiting(engine) == USERS


def test_a_clock_that_is_set_back_is_no_loss_by_itself(engine: Engine):
    stamped(engine, -HOUR)
    with transaction(engine) as connection:
        rows = connection.execute(text("SELECT partition, mark FROM tail_partitions")).all()
    marks = {partition: mark for partition, mark in rows}
    assert MarkKeeper(engine, Store(marks=marks)).check(EVERYBODY)
    assert waiting(engine) == []
