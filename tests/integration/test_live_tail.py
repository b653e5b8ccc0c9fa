"""The tail as a process, on real PostgreSQL and Valkey: killed, beside an emptied store, behind an old dump."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import redis
from own_process import ROOT, apply_definitions, variables
from sqlalchemy import Engine, text
from tail_shop import DAY, MINUTE, NOW, add, empty_shop, recomputed

from services.core.addresses import Addresses
from services.core.live_keys import ONLINE, READY, TAILS
from services.core.settings import Settings
from services.db.session import make_engine, transaction
from services.features.online import OnlineReader
from services.features.online.marks import MARK, OnlineMarks
from services.workers.live import LiveConfig, LiveTail

PROCESS = """
from services.core.addresses import resolve_addresses
from services.core.settings import get_settings
from services.workers.live import LiveConfig, LiveTail
LiveTail(resolve_addresses(get_settings()), LiveConfig(lease=0.5, pulse=0.1)).run(lambda: False)
"""


@pytest.fixture(scope="module")
def definitions(home: Path, database: Addresses) -> None:
    apply_definitions(Settings(home=home, database_url=database.database_url, redis_url=database.redis_url))


@pytest.fixture
def engine(database: Addresses, definitions: None) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=4)
    empty_shop(made)
    with transaction(made) as connection:
        connection.execute(text("TRUNCATE jobs"))
    with redis.Redis.from_url(database.redis_url) as client:
        client.flushdb()
    yield made
    made.dispose()


@pytest.fixture
def live(engine: Engine, database: Addresses) -> Iterator[LiveTail]:
    made = LiveTail(database, LiveConfig(pulse=0.0))
    yield made
    made.close()


@pytest.fixture
def store(database: Addresses) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(database.redis_url) as client:
        yield client


def eventually(look: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


def turn_until(live: LiveTail, look: Callable[[], bool], turns: int = 200) -> None:
    for _ in range(turns):
        live.turn()
        if look():
            return
    raise AssertionError("did not happen")


def ready(store: redis.Redis) -> bool:
    return READY.encode() in (store.get(ONLINE) or b"")


SHOPPERS = tuple((f"e{n}", f"user-{n}", "lips-1", "purchase", NOW - DAY) for n in range(12))


def test_an_emptied_store_is_filled_again_and_says_so(
    engine: Engine, live: LiveTail, store: redis.Redis, database: Addresses
):
    reader = OnlineReader(database)
    add(engine, *SHOPPERS)
    turn_until(live, lambda: ready(store) and reader.portrait("user-3") is not None)
    store.flushdb()
    live.turn()
    assert store.get(ONLINE) is not None
    turn_until(live, lambda: ready(store) and reader.portrait("user-3") is not None)
    assert [reader.portrait(user).bought for user in ("user-0", "user-11")] == [("lips-1",)] * 2
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT what FROM jobs")).scalars().all() == ["materialize"]


def test_a_store_that_fell_back_gets_what_it_lost(
    engine: Engine, live: LiveTail, store: redis.Redis, database: Addresses
):
    reader = OnlineReader(database)
    add(engine, *SHOPPERS[:6])
    turn_until(live, lambda: ready(store) and reader.portrait("user-5") is not None)
    dump = {key: store.dump(key) for key in store.keys("*")}
    add(engine, *SHOPPERS[6:], ("later", "user-1", "nails-1", "click", NOW - MINUTE))
    turn_until(live, lambda: reader.portrait("user-11") is not None and reader.portrait("user-1").event_count == 2)
    for key in store.keys("*"):
        store.delete(key)
    for key, value in dump.items():
        store.restore(key, 0, value)
    assert reader.portrait("user-11") is None
    turn_until(live, lambda: reader.portrait("user-11") is not None and reader.portrait("user-1").event_count == 2)


def test_a_restarted_store_is_noticed_by_its_run(engine: Engine, live: LiveTail, store: redis.Redis):
    add(engine, *SHOPPERS)
    turn_until(live, lambda: ready(store))
    with transaction(engine) as connection:
        connection.execute(text("UPDATE tail_partitions SET store_run_id = 'the one before'"))
    assert live.keeper.check(live.tail.partitions)
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM pending_users")).scalar_one() == len(SHOPPERS)


def test_a_tail_reports_itself_and_withdraws(engine: Engine, live: LiveTail, store: redis.Redis, database: Addresses):
    add(engine, *SHOPPERS)
    turn_until(live, lambda: live.tail.report.events == len(SHOPPERS))
    live.turn()
    owner = next(iter(store.smembers(TAILS))).decode()
    fields = store.hgetall(f"portrait:tail:{owner}")
    assert (fields[b"lag_events"], fields[b"partitions"], fields[b"events"]) == (b"0", b"16", b"12")
    OnlineMarks(database).withdraw(owner)
    assert store.smembers(TAILS) == set()
    assert len(store.keys(MARK.format("*"))) == 16


def test_a_tail_that_is_killed_loses_nothing_and_counts_nothing_twice(
    engine: Engine, database: Addresses, database_settings: Settings
):
    reader = OnlineReader(database)
    users = [f"user-{n}" for n in range(20)]
    sent = 0
    for life in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            cwd=ROOT,
            env=variables(database_settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            first = sent
            eventually(lambda: has_owner(engine))
            while sent < first + 30 * (life + 1):
                moment = NOW - DAY + timedelta(seconds=sent)
                add(engine, *((f"k{sent}-{user}", user, "lips-1", "click", moment) for user in users[sent % 3 :: 3]))
                sent += 1
            if life == 2:
                eventually(lambda: in_portraits(reader, users) == stored_events(engine))
        finally:
            process.send_signal(signal.SIGKILL)  # most probably in the middle of a tick
            process.wait()
        with transaction(engine) as connection:
            connection.execute(text("UPDATE tail_partitions SET owner = NULL, expires_at = NULL"))
    portraits = {user: reader.portrait(user) for user in users}
    fresh = recomputed(engine, {user: portrait.as_of for user, portrait in portraits.items()})
    for user, portrait in portraits.items():
        assert portrait.event_count == fresh[user].event_count
        np.testing.assert_array_equal(portrait.behaviour_values(), fresh[user].behaviour_values())
        weights = [item.weight for item in portrait.recent_items]
        assert weights == pytest.approx([item.weight for item in fresh[user].recent_items], abs=1e-5)


def has_owner(engine: Engine) -> bool:
    with transaction(engine) as connection:
        return connection.execute(text("SELECT count(owner) FROM tail_partitions")).scalar_one() == 16


def stored_events(engine: Engine) -> int:
    with transaction(engine) as connection:
        return connection.execute(text("SELECT count(*) FROM events")).scalar_one()


def in_portraits(reader: OnlineReader, users: list[str]) -> int:
    return sum(portrait.event_count for portrait in reader.portraits(users) if portrait is not None)
