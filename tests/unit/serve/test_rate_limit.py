import pytest

from services.serve.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_may_burst_for_two_seconds_worth_and_then_ask_at_its_rate():
    clock = Clock()
    limit = RateLimit(5.0, clock=clock)
    assert [limit.take(b"a") for _ in range(10)] == [0.0] * 10
    assert limit.take(b"a") == pytest.approx(0.2)
    clock.now += 0.2
    assert limit.take(b"a") == 0.0
    assert limit.take(b"a") > 0


def test_callers_do_not_pay_for_each_other():
    limit = RateLimit(1.0, clock=Clock())
    while limit.take(b"greedy") == 0.0:
        pass
    assert limit.take(b"modest") == 0.0


def test_a_rate_below_one_a_second_still_lets_one_through():
    clock = Clock()
    limit = RateLimit(0.1, clock=clock)
    assert limit.take(b"a") == 0.0
    assert limit.take(b"a") == pytest.approx(10.0)


def test_a_refusal_costs_nothing():
    clock = Clock()
    limit = RateLimit(1.0, clock=clock)
    for _ in range(100):
        limit.take(b"a")
    clock.now += 1.0
    assert limit.take(b"a") == 0.0


def test_the_callers_remembered_are_bounded_and_the_one_unseen_for_longest_goes():
    limit = RateLimit(1.0, max_callers=3, clock=Clock())
    for caller in (b"a", b"b", b"a", b"c", b"d"):
        limit.take(caller)
    assert len(limit) == 3
    assert limit.take(b"a") > 0  # remembered: its two tokens are gone
    assert [limit.take(b"b") for _ in range(2)] == [0.0, 0.0]  # forgotten: begins anew
