"""What a second process brings to a full recompute: the same shop recomputed by one process and by two.

120,000 users with ten events each on 12,000 items × 384, on embedded PostgreSQL, which has its share of the same cores;
neighbours are looked for among 10,000 users. `PORTRAIT_BENCH_USERS` is the size. Run:
`python -m benchmarks.recompute_processes`.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks._recompute_shop import NOW, SEED, fill, recompute_engine
from benchmarks._sizes import size
from services.db.session import make_engine
from services.profiles.config import ProfileConfig
from services.profiles.recompute import recompute_profiles
from services.profiles.shared_recompute import Help, help_with

BAR = 1.0
ITEMS, EVENTS_PER_USER, POOL_SHARE = 12_000, 10, 12


def run() -> dict[str, Any]:
    """Seconds of both, and how many times as quick two are."""
    users = int(size("USERS", 120_000, 6_000))
    config = ProfileConfig(pool_users=users // POOL_SHARE, users_per_chunk=1_024)
    spawn = multiprocessing.get_context("spawn")
    with recompute_engine() as engine:
        fill(engine, *_events(users))
        url = engine.url.render_as_string(hide_password=False)
        helpers: list[BaseProcess] = []

        def start(run_id: UUID) -> None:
            if not helpers:  # a run calls again and again
                helpers.append(spawn.Process(target=_help, args=(url, run_id, config)))
                helpers[0].start()

        def seconds(hour: int, call: Callable[[UUID], None]) -> tuple[float, dict[str, Any]]:
            began = time.perf_counter()
            report = recompute_profiles(
                engine,
                None,
                as_of=NOW + timedelta(hours=hour),
                config=config,
                keep_states=True,
                help_=Help(f"benchmark {hour}", call),
            )
            return round(time.perf_counter() - began, 1), report.as_dict()

        seconds(0, lambda _: None)  # tables and states are there the next time, as each night
        one, alone = seconds(1, lambda _: None)
        two, shared = seconds(2, start)
        helpers[0].join()
    ratio = round(one / two, 2)
    return {
        "name": "recompute_processes",
        "figure": ratio,
        "bar": BAR,
        "holds": ratio > BAR,
        "figures": {
            "users": users,
            "events": alone["events"],
            "one_process_s": one,
            "two_processes_s": two,
            "processes": shared["processes"],
            "one_process_steps_s": alone["seconds"],
            "two_processes_steps_s": shared["seconds"],
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


def _events(users: int) -> tuple[list[str], list[str]]:
    """User and item id of every event, users together."""
    item = np.random.default_rng(SEED).integers(0, ITEMS, users * EVENTS_PER_USER)
    user = np.repeat(np.arange(users), EVENTS_PER_USER)
    return [f"u{n:07d}" for n in user.tolist()], [f"i{n:05d}" for n in item.tolist()]


def _help(url: str, run_id: UUID, config: ProfileConfig) -> None:
    help_with(make_engine(url), None, run_id, call=lambda _: None, go_on=lambda: True, config=config)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
