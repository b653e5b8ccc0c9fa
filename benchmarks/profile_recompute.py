"""Full profile recompute of Amazon Beauty (22,363 users, 198,502 events, 12,101 items × 384) on embedded PostgreSQL.

Real sequences where PORTRAIT_TEST_DATA names their folder, simulated ones of the same size otherwise. The vectors
are random: what they hold does not change the work. Run: `python -m benchmarks.profile_recompute`.
"""

import gzip
import os
import resource
from datetime import timedelta
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks._recompute_shop import NOW, SEED, fill, recompute_engine
from services.profiles.recompute import recompute_profiles

BAR_S = 60.0
USERS, EVENTS, ITEMS = 22_363, 198_502, 12_101


def run() -> dict[str, Any]:
    """Seconds of a full recompute, by step, and its peak memory.

    `processor_s` are the processor's seconds of this process (not PostgreSQL's): on a busy machine the wall clock
    tells more of the others.
    """
    users, items = _sequences()
    with recompute_engine() as engine:
        fill(engine, users, items)
        started = process_time()
        first = recompute_profiles(engine, None, as_of=NOW).as_dict()
        processor = process_time() - started
        again = recompute_profiles(engine, None, as_of=NOW + timedelta(hours=1)).as_dict()
        one = recompute_profiles(engine, None, as_of=NOW + timedelta(hours=2), user_ids=[users[0]]).as_dict()
    figure = first["seconds"]["total"]
    return {
        "name": "profile_recompute",
        "figure": figure,
        "bar": BAR_S,
        "holds": figure <= BAR_S,
        "figures": {
            "users": first["users"],
            "events": first["events"],
            "processor_s": round(processor, 1),
            "load_average": round(os.getloadavg()[0], 1),
            "first_s": first["seconds"],
            "again_s": again["seconds"],
            "one_user_s": one["seconds"],
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
    }


def _sequences() -> tuple[list[str], list[str]]:
    """User and item id of every event, users together, each user's events in order."""
    folder = os.environ.get("PORTRAIT_TEST_DATA")
    path = Path(folder or ".") / "amazon-beauty-2014" / "user_sequence.txt.gz"
    if folder and path.is_file():
        with gzip.open(path, "rt") as lines:
            sequences = [line.split() for line in lines]
        return [s[0] for s in sequences for _ in s[1:]], [item for s in sequences for item in s[1:]]
    generator = np.random.default_rng(SEED)
    user = np.sort(np.concatenate([np.arange(USERS), generator.integers(0, USERS, EVENTS - USERS)]))
    item = (ITEMS * generator.random(EVENTS) ** 2).astype(int)
    return [f"u{n:05d}" for n in user], [f"i{n:05d}" for n in item]


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
