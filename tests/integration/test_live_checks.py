"""The doctor names every state in which portraits are late, partial or cannot be refreshed."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
import redis

from services.core.addresses import Addresses
from services.core.live_keys import ONLINE, TAIL, TAILS
from services.core.settings import Settings
from services.runtime import live_checks
from services.runtime.checks import Finding, Level

DEAD = "redis://127.0.0.1:1/0"


@pytest.fixture
def valkey(database: Addresses) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(database.redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def postgres(database: Addresses) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE pending_users, quarantined_users")
        connection.execute("UPDATE tail_partitions SET owner = NULL, expires_at = NULL")
        yield connection


def found(check, settings: Settings, addresses: Addresses) -> Finding:
    finding = check(settings, addresses)
    assert (finding.level is Level.OK) == (finding.cure is None)
    return finding


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        (None, Level.WRONG, "emptied"),
        ("ready", Level.OK, "every portrait"),
        ("rebuilding", Level.WARNING, "written again, for 2."),
    ],
)
def test_an_emptied_or_half_filled_online_store(
    settings: Settings, database: Addresses, valkey: redis.Redis, status: str | None, level: Level, text: str
):
    if status is not None:
        valkey.set(ONLINE, json.dumps({"status": status, "since": time.time() - 120}))
    finding = found(live_checks.check_online_store, settings, database)
    assert finding.level is level and text in finding.found


def test_partitions_without_an_owner(settings: Settings, database: Addresses, postgres: psycopg.Connection):
    lease = "UPDATE tail_partitions SET owner = 'a', expires_at = now() + %s::interval WHERE partition < %s"
    postgres.execute(lease, ("1 minute", 16))
    assert found(live_checks.check_tail_owners, settings, database).level is Level.OK
    postgres.execute(lease, ("-1 second", 5))
    finding = found(live_checks.check_tail_owners, settings, database)
    assert finding.level is Level.WRONG and "5 of 16" in finding.found
    postgres.execute(lease, ("1 hour", 4))  # of an owner that died as the clock was set back
    assert "5 of 16" in found(live_checks.check_tail_owners, settings, database).found


def test_a_tail_that_is_far_behind(settings: Settings, database: Addresses, valkey: redis.Redis):
    assert found(live_checks.check_tail_lag, settings, database).level is Level.WARNING
    valkey.sadd(TAILS, "a", "items", "gone")
    valkey.hset(TAIL.format("items"), mapping={"items_ticks": 3})
    for lag, level in ((0.2, Level.OK), (11.0, Level.WRONG)):
        valkey.hset(TAIL.format("a"), mapping={"partitions": 16, "lag_events": 40, "lag_seconds": lag})
        finding = found(live_checks.check_tail_lag, settings, database)
        assert finding.level is level and "40 events" in finding.found


def test_a_long_queue(settings: Settings, database: Addresses, postgres: psycopg.Connection):
    postgres.execute("INSERT INTO pending_users (user_id, reason) VALUES ('ada', 'rebuild')")
    assert found(live_checks.check_queue, settings, database).level is Level.OK
    postgres.execute("UPDATE pending_users SET requested_at = now() - interval '5 minutes'")
    finding = found(live_checks.check_queue, settings, database)
    assert finding.level is Level.WARNING and finding.found.startswith("1 users wait")


def test_users_put_aside(settings: Settings, database: Addresses, postgres: psycopg.Connection):
    assert found(live_checks.check_quarantine, settings, database).level is Level.OK
    postgres.execute("INSERT INTO quarantined_users (user_id, error) VALUES ('ada', 'ValueError: odd')")
    finding = found(live_checks.check_quarantine, settings, database)
    assert finding.level is Level.WRONG and "'ada'" in finding.found and "ValueError: odd" in finding.found


def test_servers_that_are_down_are_findings_too(settings: Settings, database: Addresses):
    down = replace(
        database, redis_url=DEAD, broker_url=DEAD, database_url="postgresql://postgres@127.0.0.1:1/x?connect_timeout=1"
    )
    findings = [found(check, settings, down) for check in live_checks.LIVE_CHECKS]
    assert {finding.level for finding in findings} == {Level.WRONG}
    assert all("no connection" in finding.found for finding in findings)
    assert found(live_checks.check_broker, settings, database).level is Level.OK
