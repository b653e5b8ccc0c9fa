"""What tails write into the online store is what gateways read there."""

from datetime import UTC, datetime

import numpy as np
import pytest
import redis

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.live_keys import TAIL, TAILS
from services.features.online.live_status import LiveStatus
from services.features.online.marks import OnlineMarks
from services.profiles.tail_report import TailReport

NOW = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


@pytest.fixture
def client(database: Addresses):
    with redis.Redis.from_url(database.redis_url) as found:
        found.flushdb()
        yield found


def report(events: list[float], lag: float) -> TailReport:
    found = TailReport(lag_events=3, waiting_since=datetime.fromtimestamp(NOW - lag, UTC))
    found.saw(np.array(events))
    return found


def test_a_store_of_which_nothing_is_said(database: Addresses, client: redis.Redis):
    found = LiveStatus(database).read()
    assert (found.online, found.since, found.tails) == (None, None, ())


def test_the_report_of_each_tail_is_found(database: Addresses, client: redis.Redis):
    marks = OnlineMarks(database)
    marks.set_status("rebuilding", NOW)
    marks.report("a", report([0.02, 0.02, 400.0], lag=1.5).fields(NOW, 10), 30)
    marks.report("b", report([], lag=0.0).fields(NOW, 6), 30)
    found = LiveStatus(database).read()
    assert (found.online, found.since) == ("rebuilding", NOW)
    first, second = found.tails
    assert (first.owner, second.owner) == ("a", "b")
    assert {n: first.numbers[n] for n in ("lag_events", "lag_seconds", "partitions", "updated_at", "events")} == {
        "lag_events": 3.0,
        "lag_seconds": 1.5,
        "partitions": 10.0,
        "updated_at": NOW,
        "events": 3.0,
    }
    assert len(first.counts) == len(first.bounds) + 1
    assert first.counts[1] == 2 and first.counts[-1] == 1 and first.total == pytest.approx(400.04)


def test_a_tail_that_ends_or_dies_is_no_longer_counted(database: Addresses, client: redis.Redis):
    marks, status = OnlineMarks(database), LiveStatus(database)
    for owner in ("ends", "dies", "lives"):
        marks.report(owner, report([], 0.0).fields(NOW, 5), 30)
    marks.withdraw("ends")
    client.delete(TAIL.format("dies"))  # as when its report runs out
    assert [tail.owner for tail in status.read().tails] == ["lives"]
    assert client.smembers(TAILS) == {b"lives"}


def test_a_store_that_does_not_answer_is_named(database: Addresses):
    with pytest.raises(DependencyDown, match="Valkey"):
        LiveStatus(Addresses(database.database_url, "redis://127.0.0.1:1/0", database.broker_url)).read()
