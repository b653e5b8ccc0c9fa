"""A user model small enough to train in a moment; as a program, one that waits to be killed after its second epoch."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from training import user_model
from training.configs import UserModelSettings
from training.sequences import Tokens
from training.user_model import Catalogue, Fitted, UserModelTrainer

ITEMS, USERS, STEPS, EPOCHS = 50, 60, 8, 5
SETTINGS = UserModelSettings(width=16, dropout=0.2, negatives=20, batch_users=16, warm_up_steps=1)


def tokens() -> Tokens:
    """Users who go three items further at each step."""
    user = np.repeat(np.arange(USERS, dtype=np.int32), STEPS)
    step = np.tile(np.arange(STEPS), USERS)
    return Tokens(
        user=user,
        item=((user * 7 + 3 * step) % ITEMS).astype(np.int32),
        type=np.ones(len(user), np.int64),
        time=step * 3_600.0,
        target=np.ones(len(user), bool),
    )


def trainer(settings: UserModelSettings = SETTINGS, **options: Any) -> UserModelTrainer:
    """Over items without any content."""
    ids = pa.array([f"item-{n}" for n in range(ITEMS)])
    return UserModelTrainer(Catalogue.bare(ids, None), settings, **options)


def fit_sampled(**options: Any) -> Fitted:
    """With sampled negatives, as in a large shop: what they are drawn with is part of a checkpoint.

    On one thread, whatever ran in this process before: with more, sums are added in another order.
    """
    before, user_model.FULL_SOFTMAX = user_model.FULL_SOFTMAX, 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return trainer(**options).fit(tokens(), seed=3, epochs=EPOCHS)
    finally:
        user_model.FULL_SOFTMAX = before
        torch.set_num_threads(threads)


def _wait_after_two(figures: dict[str, Any]) -> None:
    if figures["epoch"] == 2:
        print("two", flush=True)  # noqa: T201 - the parent waits for it
        sys.stdin.read()


if __name__ == "__main__":
    fit_sampled(checkpoints=Path(sys.argv[1]), tell=_wait_after_two)
