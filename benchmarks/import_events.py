"""Claim: a file of events is imported into PostgreSQL at 20,000 a second or more, in memory that does not grow with it.

    python benchmarks/import_events.py [--json OUT] [--events N]

Each import runs in a process of its own against an embedded PostgreSQL (durable, as `portrait up` starts it), through
the whole of `import_file`: JSON lines, rules, keys, partitions, indexes. The figure is the median rate of the large
file. Beside it: the rate at which bare COPY loads the same rows into one table with the same indexes in the same run,
peak memory of the importer for a file and for one four times as long, and the rate when everything is known already.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.core.paths import HomePaths
from services.db.migrate import upgrade
from services.runtime.postgres import EmbeddedPostgres

BAR = 20_000.0
EVENTS = 400_000
REPEATS = 3
USERS, ITEMS, DAYS = 20_000, 12_000, 90
END = datetime(2026, 11, 1, tzinfo=UTC)
TYPES = ("impression", "view", "view", "view", "click", "cart", "purchase", "rating", "review", "search")

WORKER = """
import json, resource, sys
from pathlib import Path
from services.db.session import make_engine, raw, transaction
from services.ingest.import_file import import_file
engine = make_engine(sys.argv[1])
if sys.argv[3] == "fresh":
    with transaction(engine) as connection:
        raw(connection).execute("TRUNCATE events, event_keys")
report = import_file(engine, Path(sys.argv[2]), kind="events")
print(json.dumps({**report.as_dict(), "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def event_line(n: int, draw: random.Random) -> str:
    """One event in the shop's own format, its properties as its type has them."""
    kind = draw.choice(TYPES)
    properties: dict[str, object] = {
        "impression": {"position": draw.randrange(20)},
        "view": {"dwell_ms": draw.randrange(90_000), "depth": round(draw.random(), 3)},
        "click": {"position": draw.randrange(20)},
        "cart": {"quantity": 1, "price": round(draw.uniform(3, 90), 2)},
        "purchase": {"quantity": 1, "price": round(draw.uniform(3, 90), 2)},
        "rating": {"rating": draw.randint(1, 5)},
        "review": {"text": "Does what it should &amp; smells good.", "rating": draw.randint(1, 5)},
        "search": {"query": "argan oil"},
    }[kind]
    event = {
        "event_id": f"event-{n:09d}",
        "user_id": f"user-{draw.randrange(USERS):06d}",
        "type": kind,
        "timestamp": (END - timedelta(seconds=draw.randrange(DAYS * 86_400))).isoformat(),
        "session_id": f"session-{draw.randrange(USERS * 9):07d}",
        "properties": properties,
    }
    if kind != "search":
        event["item_id"] = f"item-{draw.randrange(ITEMS):06d}"
    return json.dumps(event) + "\n"


def write_events(path: Path, count: int) -> None:
    """A file of `count` events, the same in every run."""
    draw = random.Random(11)
    with path.open("w") as file:
        file.writelines(event_line(n, draw) for n in range(count))


def import_in_a_process(url: str, path: Path, mode: str = "fresh") -> dict[str, Any]:
    """The import's report and the peak memory of its process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-c", WORKER, url, str(path), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def bare_copy(url: str) -> float:
    """Rows a second of COPY, of the rows now in `events`, into a table with the same columns and indexes."""
    from services.core.columns import EVENT_COLUMNS  # noqa: PLC0415 - beside its only use
    from services.db.copy import copy_in, copy_out  # noqa: PLC0415 - as above
    from services.db.session import make_engine, raw, transaction  # noqa: PLC0415 - as above

    engine = make_engine(url)
    columns = ", ".join(["event_key", *EVENT_COLUMNS])
    with transaction(engine) as connection:
        rows = copy_out(connection, f"SELECT {columns} FROM events")
        raw(connection).execute("DROP TABLE IF EXISTS yardstick; CREATE TABLE yardstick (LIKE events INCLUDING ALL)")
        started = time.perf_counter()
        for start in range(0, rows.num_rows, 50_000):
            copy_in(connection, "yardstick", rows.slice(start, 50_000))
    seconds = time.perf_counter() - started
    with transaction(engine) as connection:
        raw(connection).execute("DROP TABLE yardstick")
    engine.dispose()
    return rows.num_rows / seconds


def measure(home: Path, events: int) -> dict[str, float]:
    """All figures, on a database of its own under `home`."""
    server = EmbeddedPostgres(HomePaths(home))
    server.start()
    try:
        url = server.url().replace("postgresql://", "postgresql+psycopg://", 1)
        upgrade(url)
        small, large = home / "small.jsonl", home / "large.jsonl"
        write_events(small, events // 4)
        write_events(large, events)
        first = import_in_a_process(url, small)
        runs = [import_in_a_process(url, large) for _ in range(REPEATS)]
        copied = bare_copy(url)
        again = import_in_a_process(url, large, "again")
    finally:
        server.stop()
    rate = statistics.median(run["records"] / run["seconds"] for run in runs)
    return {
        "events_per_second": rate,
        "events_per_second_low": min(run["records"] / run["seconds"] for run in runs),
        "events_per_second_high": max(run["records"] / run["seconds"] for run in runs),
        "bare_copy_per_second": copied,
        "share_of_bare_copy": rate / copied,
        "known_events_per_second": again["records"] / again["seconds"],
        "events": events,
        "peak_mb_quarter": first["peak_mb"],
        "peak_mb": statistics.median(run["peak_mb"] for run in runs),
        "load_average": os.getloadavg()[0],
    }


def run(events: int = EVENTS) -> dict[str, Any]:
    """The claim, measured: name, figure, bar, holds, figures."""
    home = Path(tempfile.mkdtemp(prefix="pb-")).resolve()
    try:
        figures = {name: round(value, 3) for name, value in measure(home, events).items()}
    finally:
        shutil.rmtree(home, ignore_errors=True)
    bounded = figures["peak_mb"] <= 1.25 * figures["peak_mb_quarter"]
    return {
        "name": "import_events",
        "figure": figures["events_per_second"],
        "bar": BAR,
        "holds": figures["events_per_second"] >= BAR and bounded,
        "figures": figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, default=EVENTS)
    arguments = parser.parse_args()
    answer = run(arguments.events)
    print(json.dumps(answer, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
