"""When a part that ended starts again."""

from services.runtime.restarts import FIRST_DELAY_S, LONGEST_DELAY_S, QUICK_ENDS, STEADY_S, Restarts


def test_delays_double_up_to_a_bound() -> None:
    account = Restarts()
    delays = []
    for _ in range(QUICK_ENDS - 1):
        account.ended(ran_s=0.1, now=100.0)
        assert account.due is not None
        delays.append(account.due - 100.0)
        account.started()
    assert delays == [FIRST_DELAY_S * factor for factor in (1, 2, 4, 8)]
    assert max(delays) <= LONGEST_DELAY_S


def test_the_fifth_quick_end_in_a_row_gives_the_part_up() -> None:
    account = Restarts()
    for _ in range(QUICK_ENDS):
        account.ended(ran_s=0.1, now=0.0)
    assert account.failed
    assert account.due is None


def test_a_long_run_wipes_out_earlier_quick_ends() -> None:
    account = Restarts()
    for _ in range(QUICK_ENDS - 1):
        account.ended(ran_s=0.1, now=0.0)
    account.ended(ran_s=STEADY_S, now=0.0)
    assert not account.failed
    assert account.due == FIRST_DELAY_S


def test_only_restarts_that_were_made_are_counted() -> None:
    account = Restarts()
    account.ended(ran_s=0.1, now=0.0)
    assert account.total == 0
    account.started()
    assert account.total == 1
    assert account.due is None
