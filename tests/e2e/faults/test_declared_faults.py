"""Faults that are not a death, each with the behaviour that docs/operations.md declares for it."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from services.features.online import OnlineReader
from tests.e2e.faults.check import Verdict, check_log, check_portraits
from tests.e2e.faults.kills import Victim, kill, live_part
from tests.e2e.faults.shopper import Shopper
from tests.e2e.faults.stack import FaultStack, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONNECTIONS = 100
"""The embedded server's `max_connections`."""


@pytest.fixture
def stack(fault_stack: FaultStack) -> FaultStack:
    eventually(lambda: fault_stack.all_ready() or None, "a whole stack", 120)
    return fault_stack


def assert_exact(stack: FaultStack, *shoppers: Shopper, acknowledged: list[str]) -> None:
    """Everything acknowledged is in the log once, and the portraits are those of a recompute."""
    verdict, engine = Verdict(), stack.engine()
    try:
        check_log(engine, acknowledged, verdict)
        users = [shopper.user for shopper in shoppers]
        check_portraits(engine, OnlineReader(stack.addresses), users, verdict, within_s=60)
    finally:
        engine.dispose()
    assert verdict.clean, verdict


def test_with_valkey_out_of_memory_events_are_taken_and_portraits_follow_later(stack: FaultStack):
    shopper, (first, second) = Shopper(stack, "memory-user"), stack.items[:2]
    shopper.settle(first)
    with redis.Redis.from_url(stack.addresses.redis_url) as valkey:
        valkey.config_set("maxmemory", 1)
        try:
            status, _ = shopper.post(shopper.click(second))
            pages = [shopper.page() for _ in range(20)]
            time.sleep(2.0)
            assert status == 202
            assert {status for status, _ in pages} == {200}
            assert shopper.recent()[:1] == [first]  # the portrait from before, not none
        finally:
            valkey.config_set("maxmemory", 0)
    shopper.sees(second)
    assert_exact(stack, shopper, acknowledged=shopper.sent)


def test_without_connections_to_postgres_pages_go_on_and_events_are_refused_with_a_cure(stack: FaultStack):
    shopper = Shopper(stack, "connections-user")
    shopper.settle(stack.items[0])
    acknowledged = list(shopper.sent)
    refused: list[dict] = []
    with hogged(stack):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and len(refused) < 3:
            event = shopper.click(stack.items[1])
            status, answer = shopper.post(event)
            assert status in (202, 503), answer
            acknowledged += [event["event_id"]] if status == 202 else []
            refused += [answer] if status == 503 else []
            assert shopper.page()[0] == 200
    assert refused, "PostgreSQL had connections left: this test proves nothing"
    assert {answer["code"] for answer in refused} <= {"dependency-down", "not-ready", "overloaded"}, refused
    last = stack.items[2]
    shopper.settle(last)
    assert_exact(stack, shopper, acknowledged=[*acknowledged, shopper.sent[-1]])


@contextmanager
def hogged(stack: FaultStack) -> Iterator[None]:
    """Every connection of the server taken, those of the stack's processes too."""
    url = stack.addresses.database_url
    end_theirs = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'hog' "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with ExitStack() as taken:
        control = taken.enter_context(psycopg.connect(url, application_name="hog", autocommit=True))
        for _ in range(20):
            while _one_more(url, taken):
                pass
            if not control.execute(end_theirs).fetchall():
                break
        yield


def _one_more(url: str, taken: ExitStack) -> bool:
    try:
        connection = psycopg.connect(url, application_name="hog")
    except psycopg.OperationalError:
        return False
    taken.callback(connection.close)
    return True


def test_a_full_disk_refuses_events_and_loses_none_that_were_acknowledged(stack: FaultStack):
    if not os.path.ismount(stack.home):
        pytest.skip("the stack has no disk of its own here: mounting one is not permitted")
    shopper = Shopper(stack, "disk-user")
    shopper.settle(stack.items[0])
    acknowledged = list(shopper.sent)
    with full_disk(stack.home):
        refused = None
        for _ in range(400):
            batch = [shopper.click(stack.items[n % 100]) for n in range(1_000)]
            status, answer = shopper.post(*batch)
            if status == 202:
                acknowledged += [event["event_id"] for event in batch]
                continue
            refused = (status, answer)
            break
        assert refused is not None and refused[0] == 503, refused
        assert shopper.page()[0] == 200
    last = stack.items[101]
    shopper.settle(last, within_s=120)
    eventually(lambda: stack.all_ready() or None, "a whole stack after room was made", 120)
    assert_exact(stack, shopper, acknowledged=[*acknowledged, shopper.sent[-1]])


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Not a block left in the file system of `folder`."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass  # full, as wanted
    try:
        yield
    finally:
        ballast.unlink()


def test_a_damaged_state_is_rebuilt_from_the_events(stack: FaultStack):
    shopper, (first, second) = Shopper(stack, "damaged-user"), stack.items[3:5]
    shopper.settle(first)
    _damage(stack, shopper.user, "items = '\\x00'::bytea")
    shopper.settle(second)
    assert_exact(stack, shopper, acknowledged=shopper.sent)


def test_a_user_whose_state_makes_the_worker_raise_is_set_apart_and_everybody_else_goes_on(stack: FaultStack):
    poisoned, healthy = Shopper(stack, "poisoned-user"), Shopper(stack, "healthy-user")
    poisoned.settle(stack.items[5])
    # The last four bytes of an item's row are its event type: one that does not exist raises when it is read out.
    _damage(stack, poisoned.user, "items = overlay(items placing '\\xffffff7f'::bytea from octet_length(items) - 3)")
    poisoned.post(poisoned.click(stack.items[6]))
    healthy.settle(stack.items[7])
    eventually(lambda: _quarantined(stack) == [poisoned.user] or None, "the user in quarantine", 30)
    poisoned_job = stack.run_job("profiles", user_ids=[poisoned.user])
    assert poisoned_job["status"] == "done"
    poisoned.sees(stack.items[6])
    eventually(lambda: _quarantined(stack) == [] or None, "nobody in quarantine", 30)
    assert_exact(stack, poisoned, healthy, acknowledged=[*poisoned.sent, *healthy.sent])


def _damage(stack: FaultStack, user: str, change: str) -> None:
    with psycopg.connect(stack.addresses.database_url) as connection:
        done = connection.execute(f"UPDATE user_states SET {change} WHERE user_id = %s", (user,))
        assert done.rowcount == 1


def _quarantined(stack: FaultStack) -> list[str]:
    with psycopg.connect(stack.addresses.database_url) as connection:
        return [row[0] for row in connection.execute("SELECT user_id FROM quarantined_users ORDER BY 1")]


def test_a_broker_that_lost_its_queues_is_filled_again_and_a_new_worker_takes_over(stack: FaultStack):
    shopper = Shopper(stack, "broker-user")
    shopper.settle(stack.items[8])
    with redis.Redis.from_url(stack.addresses.broker_url) as broker:
        broker.flushdb()
    shopper.settle(stack.items[9])  # the tail needs no broker while it runs
    killed = kill(stack, Victim.LIVE_CHILD, random.Random(0))
    assert live_part(stack) == "worker-live", killed
    shopper.settle(stack.items[10])  # and its successor is asked for through the emptied broker
    assert stack.run_job("features")["status"] == "done"
    assert_exact(stack, shopper, acknowledged=shopper.sent)


def test_an_emptied_online_store_is_filled_again_without_a_person(stack: FaultStack):
    shopper = Shopper(stack, "emptied-user")
    shopper.settle(stack.items[11])
    with redis.Redis.from_url(stack.addresses.redis_url) as valkey:
        valkey.flushdb()
    assert shopper.page()[0] == 200
    shopper.sees(stack.items[11])
    assert_exact(stack, shopper, acknowledged=shopper.sent)
