"""Seconds of a training epoch of the user model, beside RecTools' SASRec on the same data, width and history length.

RecTools lives in an environment of its own (`python -m venv V && V/bin/pip install "rectools[torch]"`); its Python is
named by PORTRAIT_RECTOOLS_PYTHON. The data are Amazon Beauty 2014 where PORTRAIT_TEST_DATA names its folder, sequences
of a simulated shop otherwise. Both run on one core, ours first, a whole epoch, then theirs, some batches of one. What
counts is the processor's seconds, so that what else runs on the machine matters little. Bar: an epoch of ours takes at
most half as long.
Run: `python -m benchmarks.epoch_seconds [--json OUT]`.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BAR = 2.0
WIDTH = 128
BATCHES = 10
"""Of RecTools that are timed: a whole epoch takes it minutes."""
SCRIPT = Path(__file__).with_name("_rectools_sasrec.py")
ONE_CORE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run() -> dict[str, Any]:
    """The ratio of both processor times, and each of them."""
    with tempfile.TemporaryDirectory(prefix="pt-") as made:
        sequences = _sequences(Path(made))
        ours = _ours(sequences)
        theirs = _theirs(sequences, Path(made))
    ratio = round(theirs["cpu_seconds"] / ours["cpu_seconds"], 2)
    return {
        "name": "epoch_seconds",
        "figure": ratio,
        "bar": BAR,
        "holds": ratio >= BAR,
        "figures": {
            "width": WIDTH,
            **{f"ours_{name}": value for name, value in ours.items()},
            **{f"rectools_{name}": value for name, value in theirs.items()},
        },
    }


def _sequences(folder: Path) -> Path:
    named = os.environ.get("PORTRAIT_TEST_DATA")
    if named and (found := Path(named) / "amazon-beauty-2014" / "user_sequence.txt.gz").is_file():
        return found
    return _simulated(folder)


def _simulated(folder: Path) -> Path:
    """The clicks of a simulated shop's users, in order."""
    from services.cli.offline_data import read_data  # noqa: PLC0415 - only here
    from services.core.settings import get_settings  # noqa: PLC0415 - only here
    from services.ingest.importers.base import ImportOptions  # noqa: PLC0415 - only here
    from services.simulation.config import ShopConfig  # noqa: PLC0415 - only here
    from services.simulation.shop import SimulatedShop  # noqa: PLC0415 - only here

    shop = SimulatedShop(ShopConfig(end=datetime(2026, 11, 1, tzinfo=UTC), users=2_500, items=2_000, seed=3))
    written = shop.write(folder)
    data = read_data(
        written.events, written.items, get_settings(), format="auto", options=ImportOptions(), encode=False
    )
    users: dict[str, list[str]] = {}
    events = data.events.select(["user_id", "item_id", "type"]).to_pylist()
    for event in events:
        if event["type"] == "click" and event["item_id"]:
            users.setdefault(event["user_id"], []).append(event["item_id"])
    path = folder / "sequences.txt.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(" ".join([user, *items]) + "\n" for user, items in users.items() if len(items) >= 3)
    return path


def _ours(sequences: Path) -> dict[str, float]:
    """In a process of its own, as theirs."""
    command = [sys.executable, "-m", "benchmarks.epoch_seconds", "--ours", str(sequences)]
    done = subprocess.run(
        command, env=os.environ | ONE_CORE, cwd=SCRIPT.parents[1], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _theirs(sequences: Path, folder: Path) -> dict[str, float]:
    python = os.environ.get("PORTRAIT_RECTOOLS_PYTHON")
    if not python:
        raise SystemExit("PORTRAIT_RECTOOLS_PYTHON names the Python of an environment with rectools[torch]")
    command = [python, str(SCRIPT), str(sequences), str(folder), "--width", str(WIDTH), "--only-time", str(BATCHES)]
    done = subprocess.run(command, env=os.environ | ONE_CORE, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_ours(sequences: Path) -> dict[str, float]:
    """The second epoch of the default settings on everything but each user's last two items, without texts.

    Both models then know the same: who took what in which order.
    """
    import time  # noqa: PLC0415 - this part runs in a process of its own

    import torch  # noqa: PLC0415 - as above

    from services.cli.offline_data import read_data  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.ingest.importers.base import ImportOptions  # noqa: PLC0415 - as above
    from training.configs import run_config  # noqa: PLC0415 - as above
    from training.event_log import make_event_log  # noqa: PLC0415 - as above
    from training.sequences import tokens_of  # noqa: PLC0415 - as above
    from training.splits import leave_one_out  # noqa: PLC0415 - as above
    from training.user_model import Catalogue, UserModelTrainer  # noqa: PLC0415 - as above

    torch.set_num_threads(1)
    data = read_data(sequences, None, get_settings(), format="sequences", options=ImportOptions(), encode=False)
    split = leave_one_out(make_event_log(data.events, data.item_ids)).validation
    settings = replace(run_config("default").user_model, width=WIDTH)
    ends: list[tuple[float, float]] = []
    trainer = UserModelTrainer(
        Catalogue.bare(data.item_ids, None),
        settings,
        tell=lambda figures: ends.append((time.process_time(), figures["seconds"])),
    )
    trainer.fit(tokens_of(split, split.fit), 0, epochs=2)
    cpu = ends[1][0] - ends[0][0]
    return {"cpu_seconds": round(cpu, 2), "wall_seconds": round(ends[1][1], 2)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the answer to this file")
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(measure_ours(asked.ours)))
    else:
        answer = run()
        print(json.dumps(answer, indent=1))
        if asked.json:
            asked.json.write_text(json.dumps(answer, indent=1) + "\n")
