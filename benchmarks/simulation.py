"""Claims about the simulated shop: events and pictures a second on one core, and memory that does not grow with users.

Run with `python benchmarks/simulation.py [--users N] [--items N] [--json OUT]`. The figure is generated events a
second; memory is compared between a shop of N users and one of a quarter of them, streamed in the same process order.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop

EVENTS_BAR = 100_000
PICTURES_BAR = 300
END = datetime(2026, 11, 20, 12, tzinfo=UTC)

STREAM = """
import resource, sys, time
from datetime import UTC, datetime
from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop

users, items = map(int, sys.argv[1:])
shop = SimulatedShop(ShopConfig(end=datetime(2026, 11, 20, 12, tzinfo=UTC), users=users, items=items))
shop.catalogue
started = time.perf_counter()
count = sum(len(frame) for frame in shop.events())
seconds = time.perf_counter() - started
print(count, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def stream_events(users: int, items: int) -> dict[str, float]:
    """Events, seconds and peak memory of a fresh process on one core that streams all events of a shop."""
    one_core = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", STREAM, str(users), str(items)]
    done = subprocess.run(command, env=one_core, capture_output=True, text=True, check=True)
    count, seconds, peak = map(float, done.stdout.split())
    return {"events": count, "seconds": seconds, "events_per_second": count / seconds, "peak_mib": peak}


def measure_items_and_pictures(items: int, pictures: int) -> dict[str, float]:
    """Item rows and drawn pictures a second, and the size of the largest picture."""
    shop = SimulatedShop(ShopConfig(end=END, items=items))
    started = time.perf_counter()
    made = sum(len(frame) for frame in shop.items())
    per_second = made / (time.perf_counter() - started)
    with tempfile.TemporaryDirectory() as folder:
        names = [f"p{number:07}" for number in range(min(pictures, items))]
        started = time.perf_counter()
        shop.draw_pictures(Path(folder), names)
        drawn = len(names) / (time.perf_counter() - started)
        largest = max(path.stat().st_size for path in Path(folder).rglob("*.jpg"))
    return {"items_per_second": per_second, "pictures_per_second": drawn, "largest_picture_bytes": float(largest)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=40_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    quarter = stream_events(arguments.users // 4, arguments.items)
    whole = stream_events(arguments.users, arguments.items)
    figures = whole | measure_items_and_pictures(arguments.items, 2_000)
    figures["peak_mib_quarter"] = quarter["peak_mib"]
    holds = (
        figures["events_per_second"] >= EVENTS_BAR
        and figures["pictures_per_second"] >= PICTURES_BAR
        and figures["peak_mib"] <= 1.25 * figures["peak_mib_quarter"]
    )
    report = {
        "name": "simulation",
        "figure": figures["events_per_second"],
        "bar": EVENTS_BAR,
        "holds": holds,
        "figures": figures,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
