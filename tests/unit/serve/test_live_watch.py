import math

import pytest

from services.core.errors import DependencyDown
from services.core.metrics import ServingMetrics
from services.features.online.live_status import LiveReading, TailReading
from services.serve.live import LiveWatch, StoreStatus
from services.serve.live_metrics import LiveMetrics


class Said:
    """A store that says what it is told to, and a clock."""

    def __init__(self) -> None:
        self.now, self.reading, self.down = 1_000.0, LiveReading("ready"), False

    def read(self) -> LiveReading:
        if self.down:
            raise DependencyDown("gone")
        return self.reading


def tail(partitions: int = 16, lag: float = 0.0, updated_at: float = 1_000.0, owner: str = "a") -> TailReading:
    return TailReading(owner, {"partitions": partitions, "lag_seconds": lag, "updated_at": updated_at})


def watch_of(said: Said) -> LiveWatch:
    return LiveWatch(said, clock=lambda: said.now)


def test_nothing_said_yet_is_unknown_and_not_degraded():
    said = Said()
    said.reading = LiveReading(None)
    watch = watch_of(said)
    watch.look()
    assert (watch.now.status, watch.now.degraded, watch.now.lag_s) == (StoreStatus.UNKNOWN, False, math.inf)


def test_a_store_that_said_something_and_now_says_nothing_was_emptied():
    said = Said()
    watch = watch_of(said)
    seen = []
    for online in ("ready", None, "rebuilding", "ready"):
        said.reading = LiveReading(online)
        watch.look()
        seen.append((watch.now.status.value, watch.now.degraded))
    assert seen == [("ok", False), ("emptied", True), ("rebuilding", True), ("ok", False)]


def test_a_store_that_does_not_answer_is_unreachable_and_found_again():
    said = Said()
    watch = watch_of(said)
    watch.look()
    said.down = True
    watch.look()
    assert watch.now.status is StoreStatus.UNREACHABLE and watch.now.degraded
    said.down = False
    watch.look()
    assert watch.now.status is StoreStatus.OK


@pytest.mark.parametrize(
    ("tails", "lag"),
    [
        ((tail(lag=0.2),), 0.2),
        ((tail(8, 0.2), tail(8, 0.7, owner="b")), 0.7),
        ((tail(updated_at=999.5),), 0.0),  # reports come once a second
        ((tail(lag=0.1, updated_at=997.5),), 1.6),
        ((tail(lag=0.1), tail(8, 0.0, updated_at=990.0, owner="dead")), 0.1),
        ((tail(8, updated_at=990.0),), math.inf),
        ((tail(updated_at=4_600.0),), math.inf),  # it died as the clock was set back: its report is no news
    ],
)
def test_the_lag_is_the_worst_of_what_tails_say_and_for_how_long_they_have_said_nothing(tails, lag: float):
    said = Said()
    said.reading = LiveReading("ready", tails=tails)
    watch = watch_of(said)
    watch.look()
    assert watch.now.lag_s == pytest.approx(lag)


def test_without_an_owner_of_every_partition_the_lag_grows():
    said = Said()
    said.reading = LiveReading("ready", tails=(tail(),))
    watch = watch_of(said)
    watch.look()
    said.reading = LiveReading("ready", tails=(tail(8, updated_at=1_005.0),))
    said.now = 1_005.0
    watch.look()
    assert watch.now.lag_s == pytest.approx(5.0)


def test_what_tails_report_is_in_the_metrics():
    said = Said()
    numbers = {"partitions": 16, "lag_seconds": 0.25, "lag_events": 7, "ticks": 3, "updated_at": said.now}
    said.reading = LiveReading("ready", tails=(TailReading("a", numbers, (0.1, 1.0), (5, 2, 1), 4.5),))
    watch = watch_of(said)
    watch.look()
    metrics = ServingMetrics()
    metrics.add(LiveMetrics(watch))
    text = metrics.text().decode()
    for line in (
        'portrait_tail_lag_events{owner="a"} 7.0',
        'portrait_tail_lag_seconds{owner="a"} 0.25',
        'portrait_tail_ticks_total{owner="a"} 3.0',
        'portrait_event_to_portrait_seconds_bucket{le="1.0",owner="a"} 7.0',
        'portrait_event_to_portrait_seconds_bucket{le="+Inf",owner="a"} 8.0',
        'portrait_event_to_portrait_seconds_sum{owner="a"} 4.5',
        'portrait_online_store{status="ok"} 1.0',
        'portrait_online_store{status="emptied"} 0.0',
        "portrait_profile_lag_seconds 0.25",
    ):
        assert line in text
