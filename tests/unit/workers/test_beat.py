"""What beat asks for while the clock jumps."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import Celery
from celery.schedules import crontab, schedule

from services.workers.beat import ForwardScheduler

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
clock = [NOON]


def now() -> datetime:
    """Named, since a schedule is kept in a file."""
    return clock[0]


class Asking(ForwardScheduler):
    """Remembers what was asked for instead of sending it."""

    producer = None

    def apply_async(self, entry, producer=None, advance=True, **options) -> None:
        self.asked.append((entry.name, clock[0] - NOON))


@pytest.fixture
def beat(tmp_path: Path) -> Iterator[Asking]:
    clock[0] = NOON
    app = Celery("test", broker="memory://", set_as_current=False)
    app.conf.result_expires = None  # no entry of its own to clean results up
    app.conf.beat_schedule = {
        "often": {"task": "often", "schedule": schedule(timedelta(seconds=2), nowfun=now)},
        "nightly": {"task": "nightly", "schedule": crontab(hour=3, minute=30, nowfun=now)},
    }
    made = Asking(app, schedule_filename=str(tmp_path / "beat"))
    made.asked = []
    yield made
    made.close()


def go_on(beat: Asking, seconds: int) -> list[tuple[str, timedelta]]:
    """What is asked for in so many seconds from now."""
    beat.asked.clear()
    for _ in range(seconds):
        clock[0] += timedelta(seconds=1)
        while beat.tick() == 0:
            pass
    return list(beat.asked)


def asked_often(*seconds: int, hours: int = 0) -> list[tuple[str, timedelta]]:
    return [("often", timedelta(hours=hours, seconds=second)) for second in seconds]


def test_work_goes_on_at_once_when_the_clock_was_set_back(beat: Asking):
    assert go_on(beat, 4) == asked_often(2, 4)
    clock[0] -= timedelta(hours=1)
    assert go_on(beat, 5) == asked_often(7, 9, hours=-1)


def test_a_jump_ahead_is_one_request_not_a_flood(beat: Asking):
    assert go_on(beat, 4) == asked_often(2, 4)
    clock[0] += timedelta(hours=1)
    assert go_on(beat, 4) == asked_often(5, 7, hours=1)


def test_a_beat_that_is_started_after_the_clock_was_set_back_goes_on_too(beat: Asking, tmp_path: Path):
    go_on(beat, 4)
    beat.close()
    clock[0] -= timedelta(hours=1)
    again = Asking(beat.app, schedule_filename=str(tmp_path / "beat"))
    again.asked = []
    assert go_on(again, 5) == asked_often(7, 9, hours=-1)
    again.close()
