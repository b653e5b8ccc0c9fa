"""SIGKILL at random moments under load: nothing acknowledged is lost or counted twice, and portraits stay exact.

Each round kills one part of a whole stack (or all of it), waits for its recovery, and compares log and portraits with
what was promised and with a recompute. `PORTRAIT_BENCH_ROUNDS` (50) is how many. The figure is the number of rounds
after which everything was right, the bar all of them.

Run: `python -m benchmarks.faults [--rounds N] [--seed N] [--only VICTIM ...]`.
"""

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from itertools import chain
from typing import Any

from benchmarks._sizes import size
from tests.e2e.faults.kills import GATEWAY_VICTIMS, Victim, deck
from tests.e2e.faults.rounds import Load, Round, run_rounds
from tests.e2e.faults.stack import running_stack

ITEMS, USERS = 300, 120
ROUNDS = 50


def run(rounds: int | None = None, seed: int = 1, victims: tuple[Victim, ...] = tuple(Victim)) -> dict[str, Any]:
    """Recovery by kind of kill, and every violation there was."""
    wanted = int(size("ROUNDS", ROUNDS, 3)) if rounds is None else rounds
    chance = random.Random(seed)
    order = list(chain.from_iterable(deck(chance, victims) for _ in range(-(-wanted // len(victims)))))[:wanted]
    with running_stack(items=ITEMS, users=USERS) as stack:
        done, load = run_rounds(stack, order, seed=seed, on_round=_show)
    good = sum(_is_right(each) for each in done)
    return {
        "name": "faults",
        "figure": good,
        "bar": wanted,
        "holds": good == wanted and not load.ledger.surprises,
        "figures": {
            "rounds": len(done),
            "acknowledged_events": len(load.ledger.acknowledged),
            "lost": sum(len(each.verdict.lost) for each in done),
            "twice": sum(len(each.verdict.twice) for each in done),
            "portraits_different": sum(len(each.verdict.different) for each in done),
            "pages": len(load.asker.answers),
            "pages_unanswered_while_the_gateway_lived": _unanswered(done),
            "surprises": load.ledger.surprises[:10],
            "answers_to_events": _by_status(load),
            "recovery": _by_victim(done),
        },
    }


def _is_right(done: Round) -> bool:
    return done.verdict.clean and (done.victim in GATEWAY_VICTIMS or not done.unanswered)


def _unanswered(rounds: list[Round]) -> int:
    return sum(sum(each.unanswered.values()) for each in rounds if each.victim not in GATEWAY_VICTIMS)


def _by_status(load: Load) -> dict[str, int]:
    return {str(status): count for status, count in sorted(load.ledger.statuses.items())}


def _by_victim(rounds: list[Round]) -> dict[str, dict[str, Any]]:
    """The worst of each kind, in seconds."""
    kinds: dict[Victim, list[Round]] = defaultdict(list)
    for each in rounds:
        kinds[each.victim].append(each)
    return {
        victim.value: {
            "rounds": len(group),
            "right": sum(_is_right(each) for each in group),
            "fresh_s": round(max(each.fresh_s for each in group), 2),
            "whole_s": round(max(each.whole_s for each in group), 2),
            "pages_gap_s": round(max(each.pages_gap_s for each in group), 2),
            "events_gap_s": round(max(each.events_gap_s for each in group), 2),
            "exact_s": round(max(each.verdict.settled_s for each in group), 2),
            "pages_unanswered": sum(sum(each.unanswered.values()) for each in group),
            "pages_shed": sum(each.shed for each in group),
            "pages_degraded": sum(each.degraded for each in group),
        }
        for victim, group in sorted(kinds.items())
    }


def _show(done: Round) -> None:
    """One line a round, as it ends, and what was wrong."""
    said = "right" if _is_right(done) else "WRONG"
    print(
        f"{said} {done.victim.value:<20} fresh {done.fresh_s:6.2f} s  whole {done.whole_s:6.2f} s  pages without an "
        f"answer {done.pages_gap_s:5.2f} s  events {done.events_gap_s:5.2f} s  exact {done.verdict.settled_s:5.2f} s",
        file=sys.stderr,
        flush=True,
    )
    if not _is_right(done):
        kinds = Counter(text.split(":", 1)[0] for text in done.verdict.different.values())
        lost, twice = done.verdict.lost[:5], done.verdict.twice[:5]
        print(
            f"  lost {lost} twice {twice} unanswered {dict(done.unanswered)} different {dict(kinds)}", file=sys.stderr
        )
        for user, difference in list(done.verdict.different.items())[:3]:
            print(f"  {user}: {difference}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[victim.name for victim in Victim])
    given = parser.parse_args()
    only = tuple(Victim[name] for name in given.only) if given.only else tuple(Victim)
    print(json.dumps(run(given.rounds, given.seed, only), indent=1))
