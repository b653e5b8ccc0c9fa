"""The clock that events' times are judged by."""

from datetime import UTC, datetime, timedelta

import pytest

from services.core.clock import forward_clock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Hands:
    """A machine's two clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = NOON, 100.0

    def pass_by(self, seconds: float, jump: timedelta = timedelta()) -> None:
        self.wall += timedelta(seconds=seconds) + jump
        self.steady += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_it_follows_the_machine(hands: Hands):
    clock = forward_clock(lambda: hands.wall, lambda: hands.steady)
    hands.pass_by(10)
    assert clock() == NOON + timedelta(seconds=10)


def test_it_follows_a_jump_ahead_at_once(hands: Hands):
    clock = forward_clock(lambda: hands.wall, lambda: hands.steady)
    hands.pass_by(10, jump=timedelta(hours=1))
    assert clock() == NOON + timedelta(hours=1, seconds=10)


def test_it_goes_on_when_the_machine_is_set_back(hands: Hands):
    clock = forward_clock(lambda: hands.wall, lambda: hands.steady)
    hands.pass_by(10, jump=timedelta(hours=-1))
    assert clock() == NOON + timedelta(seconds=10)
    hands.pass_by(3_600)
    assert clock() == NOON + timedelta(seconds=3_610)


def test_it_never_goes_back_however_the_machine_is_set(hands: Hands):
    clock = forward_clock(lambda: hands.wall, lambda: hands.steady)
    seen = []
    for jump in (0, 2, -5, 1, -1, 3):
        hands.pass_by(1, jump=timedelta(hours=jump))
        seen.append(clock())
    assert seen == sorted(seen)
