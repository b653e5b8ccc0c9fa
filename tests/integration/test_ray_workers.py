"""Two Ray workers learn together what one process learns alone."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "training"))
import tiny_training

SETTINGS = replace(tiny_training.SETTINGS, negatives=1_000, dropout=0.0, id_dropout=0.0, part_dropout=0.0)


def test_two_workers_reach_the_loss_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{Path(tiny_training.__file__).parent}:{Path(__file__).parents[2]}")
    heard: list[Any] = []
    together = tiny_training.trainer(SETTINGS, workers=2, checkpoints=tmp_path, tell=heard.append)
    found = together.fit(tiny_training.tokens(), seed=3, epochs=3)
    alone = tiny_training.trainer(SETTINGS).fit(tiny_training.tokens(), seed=3, epochs=3)
    assert [f["epoch"] for f in heard] == [1, 2, 3] and heard[0]["stage"] == "user-model"
    losses = np.array([[figures["loss"] for figures in fitted.trained.history] for fitted in (found, alone)])
    assert np.allclose(losses[0, 0], losses[1, 0], rtol=1e-4)
    assert np.allclose(losses[0], losses[1], rtol=1e-2)  # bfloat16 rounds other sums, and Adam makes steps of it
    assert (found.vectors * alone.vectors).sum(axis=1).mean() > 0.99
    assert len(list(tmp_path.glob("*/checkpoint.pt"))) == 1  # the first worker's
