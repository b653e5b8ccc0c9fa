"""Findings about live portraits: everything that makes them late, partial or impossible to refresh."""

import json
import time
from collections.abc import Callable

import psycopg

from services.core.addresses import Addresses
from services.core.live_keys import (
    LONGEST_LEASE_S,
    ONLINE,
    PARTITIONS,
    PARTITIONS_OWNED,
    READY,
    REBUILDING,
    TAIL,
    TAILS,
)
from services.core.settings import Settings
from services.core.valkey import FAILED, connect
from services.runtime.checks import Finding, ok, warning, wrong

LATE_S = 10.0
"""A lag that a tail which keeps up never has."""
LONG_QUEUE, LONG_WAIT_S = 10_000, 60.0

OWNERS = f"""
SELECT count(owner), count(DISTINCT owner) FROM tail_partitions
WHERE expires_at BETWEEN clock_timestamp() AND clock_timestamp() + {LONGEST_LEASE_S:g} * interval '1 s'
"""
QUEUE = "SELECT count(*), extract(epoch FROM clock_timestamp() - min(requested_at)) FROM pending_users"
QUARANTINED = """
SELECT count(*), (array_agg(user_id ORDER BY since))[1], (array_agg(error ORDER BY since))[1] FROM quarantined_users
"""

TAIL_CURE = "see `portrait status` and the log of worker-live; `portrait up` starts one"


def check_online_store(settings: Settings, addresses: Addresses) -> Finding:
    """Whether the online store has all portraits."""
    try:
        with connect(addresses.redis_url, socket_timeout=3) as client:
            online = client.get(ONLINE)
    except FAILED as error:
        return wrong("online store", f"no connection: {error}", "see the finding on valkey")
    if online is None:
        return wrong(
            "online store",
            "it was emptied, or no tail has looked at it yet: users are treated as unknown",
            "a running worker-live notices within seconds and fills it again; without one start it with `portrait up`, "
            "or run `portrait features materialize --all`",
        )
    said = json.loads(online)
    if said.get("status") == READY:
        return ok("online store", "it has every portrait")
    if said.get("status") == REBUILDING:
        minutes = (time.time() - said.get("since", time.time())) / 60
        return warning(
            "online store",
            f"portraits are being written again, for {minutes:.1f} minutes: answers are flagged `degraded`",
            "wait: the queue below gets shorter; if it does not, read the log of worker-live",
        )
    return warning("online store", f"its state is unknown: {said}", "an older version wrote it: `portrait up`")


def check_tail_owners(settings: Settings, addresses: Addresses) -> Finding:
    """Whether somebody tails every user."""
    row = _row(addresses, OWNERS)
    if isinstance(row, Finding):
        return row
    owned, owners = int(row[0]), int(row[1])
    if owned < PARTITIONS:
        return wrong("tail", f"{PARTITIONS - owned} of {PARTITIONS} partitions of users have no owner", TAIL_CURE)
    who = "1 process owns" if owners == 1 else f"{owners} processes own"
    return ok("tail", f"{who} all {PARTITIONS} partitions of users")


def check_tail_lag(settings: Settings, addresses: Addresses) -> Finding:
    """How far portraits are behind the events."""
    try:
        with connect(addresses.redis_url, socket_timeout=3, decode_responses=True) as client:
            owners = sorted(client.smembers(TAILS))
            found = [client.hgetall(TAIL.format(owner)) for owner in owners]
    except FAILED as error:
        return wrong("tail lag", f"no connection: {error}", "see the finding on valkey")
    reports = [report for report in found if PARTITIONS_OWNED in report]
    if not reports:
        return warning("tail lag", "no tail reports", TAIL_CURE)
    events = sum(int(float(report.get("lag_events", 0))) for report in reports)
    seconds = max(float(report.get("lag_seconds", 0)) for report in reports)
    text = f"{events} events wait, the oldest for {seconds:.1f} s"
    if seconds > LATE_S:
        return wrong("tail lag", text, "an import may be under way; else add a worker: `docs/operations.md`, the tail")
    return ok("tail lag", text)


def check_queue(settings: Settings, addresses: Addresses) -> Finding:
    """How many users wait for their portrait to be made or written again."""
    row = _row(addresses, QUEUE)
    if isinstance(row, Finding):
        return row
    count, oldest = int(row[0]), float(row[1] or 0.0)
    text = f"{count} users wait for their portraits, the first for {oldest:.0f} s"
    if count > LONG_QUEUE or oldest > LONG_WAIT_S:
        return warning(
            "queue", text, "normal after an import, a new reference version or an emptied store; else see tail"
        )
    return ok("queue", text)


def check_quarantine(settings: Settings, addresses: Addresses) -> Finding:
    """Whether there are users whose events raise."""
    row = _row(addresses, QUARANTINED)
    if isinstance(row, Finding):
        return row
    if not row[0]:
        return ok("quarantine", "no user's events raise")
    return wrong(
        "quarantine",
        f"{row[0]} users are put aside because their events raise, {row[1]!r} for one: {row[2]}",
        "the tail tries them again every ten minutes, a recompute that succeeds takes them back; an error that stays "
        "is a defect: report it",
    )


def check_broker(settings: Settings, addresses: Addresses) -> Finding:
    """Whether background work can be asked for."""
    if not addresses.broker_url.startswith(("redis://", "rediss://", "unix://")):
        return ok("broker", "another kind than Redis: the finding on workers tells whether it answers")
    try:
        with connect(addresses.broker_url, socket_timeout=3) as client:
            client.ping()
    except FAILED as error:
        return wrong("broker", f"no connection: {error}", "check PORTRAIT_BROKER_URL, or `portrait up`")
    return ok("broker", "it answers")


def _row(addresses: Addresses, statement: str) -> tuple | Finding:
    """The statement's one row, or why there is none."""
    name = {OWNERS: "tail", QUEUE: "queue", QUARANTINED: "quarantine"}[statement]
    try:
        with psycopg.connect(addresses.database_url, connect_timeout=3) as connection:
            row = connection.execute(statement).fetchone()
    except psycopg.errors.UndefinedTable:
        return wrong(name, "the database lacks the tables of live portraits", "see the finding on migrations")
    except psycopg.Error as error:
        return wrong(name, f"no connection: {str(error).strip().splitlines()[0]}", "see the finding on postgres")
    assert row is not None  # an aggregate always has one
    return row


LIVE_CHECKS: tuple[Callable[[Settings, Addresses], Finding], ...] = (
    check_broker,
    check_online_store,
    check_tail_owners,
    check_tail_lag,
    check_queue,
    check_quarantine,
)
