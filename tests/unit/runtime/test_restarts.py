"""When a part that ended starts again."""

from services.runtime.restarts import (
    FAILED_DELAY_S,
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    QUICK_ENDS,
    STEADY_S,
    Restarts,
)


def test_delays_double_up_to_a_bound() -> None:
    account = Restarts()
    delays = []
    for _ in range(QUICK_ENDS - 1):
        account.ended(worked_s=0.1, now=100.0)
        assert account.due is not None
        delays.append(account.due - 100.0)
        account.started()
    assert delays == [FIRST_DELAY_S * factor for factor in (1, 2, 4, 8)]
    assert max(delays) <= LONGEST_DELAY_S


def test_a_part_that_failed_is_tried_again_each_minute() -> None:
    account = Restarts()
    for _ in range(QUICK_ENDS):
        assert not account.failed
        account.ended(worked_s=0.1, now=0.0)
        account.started()
    assert account.failed
    account.ended(worked_s=0.0, now=100.0)
    assert account.due == 100.0 + FAILED_DELAY_S


def test_a_part_that_works_again_has_not_failed() -> None:
    account = Restarts(quick=QUICK_ENDS)
    account.ended(worked_s=STEADY_S, now=100.0)
    assert not account.failed
    assert account.due == 100.0 + FIRST_DELAY_S


def test_a_long_run_wipes_out_earlier_quick_ends() -> None:
    account = Restarts()
    for _ in range(QUICK_ENDS - 1):
        account.ended(worked_s=0.1, now=0.0)
    account.ended(worked_s=STEADY_S, now=0.0)
    assert not account.failed
    assert account.due == FIRST_DELAY_S


def test_only_restarts_that_were_made_are_counted() -> None:
    account = Restarts()
    account.ended(worked_s=0.1, now=0.0)
    assert account.total == 0
    account.started()
    assert account.total == 1
    assert account.due is None
