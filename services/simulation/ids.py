"""Ids of simulated users and items, and their numbers back."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from services.core.errors import NotFound

USER_PREFIX = "u"
ITEM_PREFIX = "p"
DIGITS = 7


def _named(prefix: str, numbers: np.ndarray) -> pl.Series:
    digits = pl.Series("n", numbers).cast(pl.Int64).cast(pl.String).str.zfill(DIGITS)
    return pl.select(pl.lit(prefix) + digits).to_series()


def user_ids(numbers: np.ndarray) -> pl.Series:
    return _named(USER_PREFIX, numbers)


def item_ids(numbers: np.ndarray) -> pl.Series:
    return _named(ITEM_PREFIX, numbers)


def user_numbers(ids: Sequence[str], count: int) -> np.ndarray:
    """Numbers of the users; raises NotFound for an id that is not among the shop's `count` users."""
    return _numbers(USER_PREFIX, "user", ids, count)


def item_numbers(ids: Sequence[str], count: int) -> np.ndarray:
    """Numbers of the items; raises NotFound for an id that is not among the shop's `count` items."""
    return _numbers(ITEM_PREFIX, "item", ids, count)


def _numbers(prefix: str, what: str, ids: Sequence[str], count: int) -> np.ndarray:
    series = pl.Series("id", ids, dtype=pl.String)
    numbers = series.str.extract(f"^{prefix}([0-9]{{{DIGITS}}})$").cast(pl.Int64)
    known = (numbers < count).fill_null(False)
    if not known.all():
        raise NotFound(f"The simulated shop has no {what} {series.filter(~known)[0]!r}: it has {count:,} of them")
    return numbers.to_numpy()
