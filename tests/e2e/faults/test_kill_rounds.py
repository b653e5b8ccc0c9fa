"""A short version of `portrait bench faults`: SIGKILL under load, part after part."""

import pytest

from tests.e2e.faults.kills import GATEWAY_VICTIMS, Victim
from tests.e2e.faults.rounds import run_rounds
from tests.e2e.faults.stack import FaultStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROUNDS = (
    Victim.LIVE_CHILD,
    Victim.VALKEY,
    Victim.POSTMASTER,
    Victim.BEAT,
    Victim.BACKEND,
    Victim.LIVE_PARENT,
    Victim.REPLICA,
    Victim.EVERYTHING,
)


def test_nothing_acknowledged_is_lost_or_counted_twice_and_portraits_stay_exact_whoever_is_killed(
    fault_stack: FaultStack,
):
    rounds, load = run_rounds(fault_stack, ROUNDS, seed=20261123)
    assert [each.victim for each in rounds] == list(ROUNDS)
    wrong = {each.victim.value: each.verdict for each in rounds if not each.verdict.clean}
    assert wrong == {}
    assert load.ledger.surprises == []
    assert len(load.ledger.acknowledged) > 100
    unanswered = {each.victim.value: each.unanswered for each in rounds if each.victim not in GATEWAY_VICTIMS}
    assert sum(sum(statuses.values()) for statuses in unanswered.values()) == 0, unanswered
