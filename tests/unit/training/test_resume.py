"""A training whose process is killed goes on from its last epoch, and ends as if nothing had happened."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tiny_training

from services.registry.manifest import DataRange
from training.configs import run_config
from training.publish import resumable

DATA = DataRange(1, 1, 1, "", "", "purchase", "d1")


def test_a_killed_process_loses_nothing_but_the_epoch_it_was_in(tmp_path: Path) -> None:
    command = [sys.executable, tiny_training.__file__, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "two\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    heard: list[Any] = []
    resumed = tiny_training.fit_sampled(checkpoints=tmp_path, tell=lambda figures: heard.append(figures["epoch"]))
    assert heard == [3, 4, 5]
    whole = tiny_training.fit_sampled()
    assert np.array_equal(resumed.vectors, whole.vectors)
    assert [f["loss"] for f in resumed.trained.history] == [f["loss"] for f in whole.trained.history]


def test_a_checkpoint_belongs_to_one_training_and_goes_with_its_success(tmp_path: Path) -> None:
    default, small = run_config("default"), run_config("small")
    seen = set()
    for settings, seed, space in ((default, 0, "s"), (small, 0, "s"), (default, 1, "s"), (default, 0, "other")):
        with resumable(tmp_path, settings, seed, space, DATA) as folder:
            folder.mkdir(parents=True)
            seen.add(folder.name)
        assert not folder.exists()
    assert len(seen) == 4
    try:
        with resumable(tmp_path, default, 0, "s", DATA) as folder:
            folder.mkdir(parents=True)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert folder.exists()  # what failed may go on
