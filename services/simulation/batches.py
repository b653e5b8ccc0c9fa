"""Re-cuts a stream of fixed blocks of users into batches of any number of users."""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from services.core.errors import InvalidInput
from services.simulation.ids import user_ids


def rebatch(blocks: Iterable[pl.DataFrame], block_users: int, users: int, batch_users: int) -> Iterator[pl.DataFrame]:
    """Frames of `batch_users` users each (the last may be smaller). Holds one block and one batch at a time."""
    if batch_users < 1:
        raise InvalidInput(f"batch_users is {batch_users}: choose at least 1")
    held: list[pl.DataFrame] = []
    first = 0
    for number, block in enumerate(blocks, start=1):
        held.append(block)
        made = min(number * block_users, users)
        while made - first >= batch_users or (made == users and first < users):
            first = min(first + batch_users, users)
            batch, rest = _split(pl.concat(held), first)
            held = [rest]
            yield batch


def _split(frame: pl.DataFrame, user: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of users below the number, and the others; the frame is sorted by user id."""
    place = frame["user_id"].search_sorted(user_ids(np.array([user]))[0], side="left")
    return frame[:place], frame[place:]
