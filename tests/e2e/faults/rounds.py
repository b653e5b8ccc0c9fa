"""Rounds of load, kill, recovery and check: what the fault test and the fault benchmark both run."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlalchemy import Engine

from services.features.online import OnlineReader
from tests.e2e.faults.check import Verdict, check_log, check_portraits
from tests.e2e.faults.kills import Kill, Victim, is_back, kill, restore
from tests.e2e.faults.load import Asker, Ledger, Probe, Writer
from tests.e2e.faults.stack import FaultStack, eventually

CALM_S = (1.0, 3.0)
"""Seconds of undisturbed load before a kill, at random between these."""
RECOVERY_S = 150.0
SETTLE_S = 60.0
LOAD_USERS = 60
"""Few, so that everybody's portrait is compared with a recompute after each round."""
PROBE_USER = "probe-user"


@dataclass
class Round:
    """One kill and what came of it. Times in seconds since the kill."""

    victim: Victim
    killed: tuple[str, ...]
    fresh_s: float = 0.0
    """Until an event sent after the kill was seen in the portrait."""
    whole_s: float = 0.0
    """Until what was killed lived again and every part said that it works."""
    pages_gap_s: float = 0.0
    """The longest time without an answered page."""
    events_gap_s: float = 0.0
    """The longest time without an acknowledged batch."""
    pages: int = 0
    unanswered: Counter[int] = field(default_factory=Counter)
    """Pages that were neither answered with 200 nor shed, by status (0: no answer)."""
    shed: int = 0
    """Pages refused because the machine was busy."""
    degraded: int = 0
    """Pages answered without the user's portrait, and saying so."""
    verdict: Verdict = field(default_factory=Verdict)


@dataclass
class Load:
    """Everything that goes on while parts are killed."""

    ledger: Ledger
    writers: list[Writer]
    asker: Asker
    probe: Probe
    users: list[str]

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """No events within the block; pages go on being asked for."""
        for worker in (*self.writers, self.probe):
            worker.pause()
        try:
            yield
        finally:
            for worker in (*self.writers, self.probe):
                worker.resume()


@contextmanager
def under_load(
    stack: FaultStack, *, events_per_s: float = 50, pages_per_s: float = 20, users: int = LOAD_USERS, seed: int = 1
) -> Iterator[Load]:
    """Two writers that overlap in their users, one asker and one probe, until the block ends."""
    ledger, chosen, items = Ledger(), stack.users[:users], stack.items
    writers = [Writer(stack.port, ledger, chosen, items, seed=seed + n, rate=events_per_s / 2) for n in range(2)]
    asker, probe = Asker(stack.port, chosen, rate=pages_per_s), Probe(stack.port, ledger, PROBE_USER, items)
    load = Load(ledger, writers, asker, probe, chosen)
    workers = (*writers, load.asker, load.probe)
    for worker in workers:
        worker.start()
    try:
        yield load
    finally:
        for worker in workers:
            worker.stop()


def run_rounds(
    stack: FaultStack, victims: Iterable[Victim], *, seed: int, on_round: Callable[[Round], Any] = lambda _: None
) -> tuple[list[Round], Load]:
    """Kill the victims one after the other under load and check after each. The rounds, and the load that was."""
    chance, rounds = random.Random(seed), []
    online, engine = OnlineReader(stack.addresses), stack.engine()
    try:
        with under_load(stack, seed=seed) as load:
            eventually(lambda: load.probe.seen or None, "the first event in a portrait", SETTLE_S)
            for victim in victims:
                time.sleep(chance.uniform(*CALM_S))
                result = _round(stack, load, victim, chance)
                with load.quiet():
                    check(engine, online, load, result.verdict)
                rounds.append(result)
                on_round(result)
    finally:
        engine.dispose()
    return rounds, load


def check(engine: Engine, online: OnlineReader, load: Load, verdict: Verdict) -> None:
    """Log and portraits of everybody in the load, while no events come."""
    check_log(engine, list(load.ledger.acknowledged), verdict)
    check_portraits(engine, online, [*load.users, PROBE_USER], verdict, within_s=SETTLE_S)


def _round(stack: FaultStack, load: Load, victim: Victim, chance: random.Random) -> Round:
    done = kill(stack, victim, chance)
    result = Round(victim, done.processes)
    restore(stack, victim)
    result.fresh_s = eventually(lambda: _fresh(load.probe, done.at), f"a portrait after {victim}", RECOVERY_S)
    eventually(lambda: (is_back(stack, done) and stack.all_ready()) or None, f"{victim} again", RECOVERY_S)
    result.whole_s = time.monotonic() - done.at
    _look_at_pages(result, load, done)
    result.events_gap_s = _longest_gap([done.at, *(t for t in list(load.ledger.times) if t > done.at)])
    return result


def _fresh(probe: Probe, since: float) -> float | None:
    """Seconds from the kill to the first event sent after it that was seen in the portrait."""
    return next((visible - since for sent, _, visible in list(probe.seen) if sent >= since), None)


def _look_at_pages(result: Round, load: Load, done: Kill) -> None:
    pages = load.asker.since(done.at)
    result.pages = len(pages)
    result.shed = sum(page.shed for page in pages)
    result.unanswered = Counter(page.status for page in pages if page.status != 200 and not page.shed)
    result.degraded = sum(page.degraded for page in pages)
    result.pages_gap_s = _longest_gap([done.at, *(page.at for page in pages if page.status == 200)])


def _longest_gap(times: list[float]) -> float:
    return max((b - a for a, b in pairwise(times)), default=0.0)
