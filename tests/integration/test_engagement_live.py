"""Item engagement kept up to date by a worker: without a job, in PostgreSQL and online."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import redis
from own_process import ROOT, apply_definitions, variables
from sqlalchemy import Engine, text

from feature_repo import names
from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.events import delete_users_events, insert_events
from services.db.pending_items import count_pending_items
from services.db.session import make_engine, transaction
from services.features.online import OnlineReader, OnlineWriter, open_store
from services.features.online.live_status import LiveStatus
from services.profiles.engagement_drift import engagement_drift
from services.profiles.engagement_tail import EngagementTail
from services.workers.engagement_thread import EngagementPace, EngagementThread
from services.workers.handlers import Handlers
from services.workers.live import LiveConfig, LiveTail
from services.workers.live_items import LiveItems
from services.workers.stores import Stores

TABLES = "events, event_keys, items, item_states, item_engagement, pending_items, pending_users, user_states, jobs"
QUICK = EngagementPace(rest=0.05, rest_per_tick=0.5)
NOW = datetime.now(UTC)
PROCESS = """
from services.core.addresses import resolve_addresses
from services.core.settings import get_settings
from services.workers.engagement_thread import EngagementPace
from services.workers.live_items import ItemsConfig, LiveItems
pace = EngagementPace(rest=0.02, rest_per_tick=0.1)
LiveItems(resolve_addresses(get_settings()), ItemsConfig(pulse=0.1, pace=pace)).run(lambda: False)
"""


@pytest.fixture(scope="module")
def definitions(home: Path, database: Addresses) -> None:
    apply_definitions(Settings(home=home, database_url=database.database_url, redis_url=database.redis_url))


@pytest.fixture
def engine(database: Addresses, definitions: None) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=4)
    with transaction(made) as connection:
        connection.execute(text(f"TRUNCATE {TABLES}"))
        connection.execute(
            text("UPDATE item_tail SET snapshot = '1:1:', as_of = NULL, basis = NULL, owner = NULL, ticks = ticks + 1")
        )
        connection.execute(text("UPDATE tail_partitions SET owner = NULL, expires_at = NULL, snapshot = '1:1:'"))
    with redis.Redis.from_url(database.redis_url) as client:
        client.flushdb()
    yield made
    made.dispose()


@pytest.fixture
def writer(engine: Engine, database: Addresses) -> OnlineWriter:
    return OnlineWriter(database, open_store(database))


@pytest.fixture
def online(database: Addresses) -> Callable[..., list[float | None]]:
    """The purchases of items in the online store; None where it has nothing."""
    reader = OnlineReader(database)

    def purchases(*items: str) -> list[float | None]:
        found = reader.values(names.ITEM_ENGAGEMENT, list(items))
        return [None if row is None else row["purchases_30d"] for row in found]

    return purchases


def buy(engine: Engine, *rows: tuple[str, str, str]) -> None:
    """Purchases (event id, user, item) of yesterday."""
    table = {
        "event_id": [row[0] for row in rows],
        "user_id": [row[1] for row in rows],
        "item_id": [row[2] for row in rows],
        "type": ["purchase"] * len(rows),
        "timestamp": pa.array([NOW - timedelta(days=1)] * len(rows), pa.timestamp("us", "UTC")),
    }
    with transaction(engine) as connection:
        insert_events(connection, pa.table(table))


def eventually(look: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


def tick(tail: EngagementTail, **options: bool) -> bool:
    """Whether it ticked, and was not told that another does."""
    return not tail.tick(datetime.now(UTC), **options).busy


def stored(engine: Engine) -> dict[str, float]:
    query = "SELECT DISTINCT ON (item_id) item_id, purchases_30d FROM item_engagement ORDER BY 1, event_timestamp DESC"
    with transaction(engine) as connection:
        return {item: purchases for item, purchases in connection.execute(text(query))}


def test_events_reach_item_engagement_in_postgres_and_online_without_a_job(
    engine: Engine, writer: OnlineWriter, online: Callable[..., list]
) -> None:
    thread = EngagementThread(EngagementTail(engine, writer, owner="one"), QUICK)
    thread.start()
    try:
        buy(engine, ("e1", "u", "lamp"), ("e2", "v", "lamp"), ("e3", "v", "rug"))
        eventually(lambda: online("lamp", "rug") == [2.0, 1.0])
        eventually(lambda: stored(engine) == {"lamp": 2.0, "rug": 1.0})  # committed after it is online
        with transaction(engine) as connection:
            delete_users_events(connection, ["v"])
        eventually(lambda: online("lamp", "rug") == [1.0, 0.0])
        eventually(lambda: thread.status.fields()["items_events"] == 3)
    finally:
        thread.stop()
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT owner FROM item_tail")).scalar_one() is None
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 0


def test_one_of_several_workers_keeps_engagement_and_another_takes_over(engine: Engine) -> None:
    first, second = (EngagementTail(engine, None, owner=name) for name in ("first", "second"))
    buy(engine, ("e1", "u", "lamp"))
    assert tick(first, if_free=True)
    assert not tick(second, if_free=True)
    guest = EngagementTail(engine, None)
    buy(engine, ("e2", "v", "lamp"))
    assert tick(guest)
    assert not tick(second, if_free=True)  # the guest did not take the place
    assert tick(first, if_free=True)
    first.release()
    buy(engine, ("e3", "w", "lamp"))
    assert tick(second, if_free=True)
    assert stored(engine) == {"lamp": 3.0}


def test_the_place_of_an_owner_that_fell_silent_is_free(engine: Engine) -> None:
    first, second = (EngagementTail(engine, None, owner=name) for name in ("first", "second"))
    buy(engine, ("e1", "u", "lamp"))
    assert tick(first, if_free=True)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE item_tail SET ticked_at = ticked_at - interval '1 minute'"))
    assert tick(second, if_free=True)


def test_the_place_of_an_owner_that_died_as_the_clock_was_set_back_is_free(engine: Engine) -> None:
    first, second = (EngagementTail(engine, None, owner=name) for name in ("first", "second"))
    buy(engine, ("e1", "u", "lamp"))
    assert tick(first, if_free=True)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE item_tail SET ticked_at = ticked_at + interval '1 hour'"))
    assert tick(second, if_free=True)


class Failing:
    """An online store that fails until it is told not to."""

    def __init__(self, writer: OnlineWriter) -> None:
        self.writer, self.down = writer, True

    def write_view(self, view_name: str, table: pa.Table) -> int:
        if self.down:
            raise DependencyDown("The online store does not answer")
        return self.writer.write_view(view_name, table)


def test_what_the_online_store_did_not_take_waits_for_it(
    engine: Engine, writer: OnlineWriter, online: Callable[..., list]
) -> None:
    store = Failing(writer)
    tail = EngagementTail(engine, store)
    buy(engine, ("e1", "u", "lamp"))
    assert not tail.tick(datetime.now(UTC)).online
    assert (stored(engine), online("lamp")) == ({"lamp": 1.0}, [None])
    store.down = False
    assert tail.tick(datetime.now(UTC)).online
    assert online("lamp") == [1.0]


def test_what_is_too_much_for_a_tick_goes_online_in_the_next(
    engine: Engine, writer: OnlineWriter, online: Callable[..., list]
) -> None:
    tail = EngagementTail(engine, writer, online_rows=2)
    items = [f"item-{n}" for n in range(5)]
    buy(engine, *((f"e{n}", "u", item) for n, item in enumerate(items)))
    assert tail.tick(datetime.now(UTC)).published == 5
    assert online(*items) == [1.0, 1.0, None, None, None]
    buy(engine, ("e9", "v", "item-0"))
    while waiting(engine):
        tail.tick(datetime.now(UTC))
    assert online(*items) == [2.0, 1.0, 1.0, 1.0, 1.0]


def test_an_emptied_store_gets_all_items_by_the_job_that_is_asked_for_then(
    engine: Engine, database: Addresses, writer: OnlineWriter, online: Callable[..., list]
) -> None:
    buy(engine, ("e1", "u", "lamp"), ("e2", "u", "rug"))
    assert tick(EngagementTail(engine, writer))
    with redis.Redis.from_url(database.redis_url) as client:
        client.flushdb()
    assert online("lamp", "rug") == [None, None]
    context = SimpleNamespace(engine=engine, stores=Stores(database, HomePaths(Path())))
    Handlers(context).materialize({"mode": "all"}, lambda share: None)
    assert online("lamp", "rug") == [1.0, 1.0]
    with transaction(engine) as connection:  # they were written while the job began: once more, whoever came last
        assert count_pending_items(connection) == {"publish": 2}


def test_a_store_that_fell_back_gets_the_items_written_since(
    engine: Engine, database: Addresses, online: Callable[..., list]
) -> None:
    live, items = LiveTail(database, LiveConfig(pulse=0.0)), LiveItems(database)
    try:
        buy(engine, ("e1", "u", "lamp"))
        live.turn()
        assert tick(items.tail)
        live.turn()
        with transaction(engine) as connection:
            connection.execute(text("UPDATE tail_partitions SET store_run_id = 'the one before'"))
        with redis.Redis.from_url(database.redis_url) as client:
            client.delete(*(key for key in client.keys("*") if b"lamp" in key))
        assert online("lamp") == [None]
        live.turn()
        assert tick(items.tail)
        assert online("lamp") == [1.0]
    finally:
        items.close()
        live.close()


def test_the_keeper_of_engagement_reports_itself_and_withdraws(engine: Engine, database: Addresses) -> None:
    items, status = LiveItems(database), LiveStatus(database)
    items.report()
    reading = status.read()
    assert reading.tails == ()
    assert [(found.owner, found.numbers["items_ticks"]) for found in reading.items] == [(items.owner, 0.0)]
    items.close()
    assert status.read().items == ()


def test_a_worker_that_is_killed_counts_nothing_twice(
    engine: Engine, database_settings: Settings, online: Callable[..., list]
) -> None:
    sent = 0

    def all_counted() -> bool:
        return sum(stored(engine).values()) == 5 * sent

    for life in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            cwd=ROOT,
            env=variables(database_settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: owned(engine))
            for _ in range(60):
                buy(engine, *((f"k{sent}-{n}", f"user-{sent % 7}", f"item-{(sent + n) % 9}") for n in range(5)))
                sent += 1
            eventually(lambda: bool(stored(engine)))
            if life == 1:
                eventually(all_counted)
        finally:
            process.send_signal(signal.SIGKILL)  # most probably in the middle of a tick
            process.wait()
        with transaction(engine) as connection:
            connection.execute(text("UPDATE item_tail SET owner = NULL"))
    found = engagement_drift(engine)
    assert found.comparable and (found.items, found.drifted, found.largest) == (9, 0, pytest.approx(0.0, abs=1e-9))
    items = sorted(stored(engine))
    assert online(*items) == [stored(engine)[item] for item in items]


def waiting(engine: Engine) -> int:
    with transaction(engine) as connection:
        return sum(count_pending_items(connection).values())


def owned(engine: Engine) -> bool:
    with transaction(engine) as connection:
        return connection.execute(text("SELECT owner FROM item_tail")).scalar_one() is not None
