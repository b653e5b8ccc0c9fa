"""Confidence in a portrait, and where the user stands in their life with the shop."""

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read
from services.core.types import Lifecycle
from services.profiles.config import ProfileConfig
from services.profiles.state import TOTALS, UserStates

Floats = NDArray[np.float64]

LIFECYCLES = [Lifecycle.NEW.value, Lifecycle.ACTIVE.value, Lifecycle.COOLING.value, Lifecycle.DORMANT.value]


def confidence(evidence: Floats, config: ProfileConfig) -> Floats:
    """1 − exp(−evidence / k): 0 with nothing, 0.71 with five fresh purchases, towards 1 with many.

    `evidence` (U,) is the sum of unsigned decayed weights as of the user's newest event: how well the taste is known.
    How long ago that was is told by the lifecycle.
    """
    return 1.0 - np.exp(-evidence / config.confidence_scale)


def lifecycles(states: UserStates, as_of: float, config: ProfileConfig) -> list[str]:
    """Each user's lifecycle at `as_of`, from their own rhythm: the mean gap between the days they were active.

    Silent for longer than `cooling_gaps` usual gaps (and a week): cooling; than `dormant_gaps` (and a month): dormant.
    Otherwise new on fewer than three active days, then active. Impressions are not activity.
    """
    codes = _codes(
        *(states.totals, as_of, config.rhythm_prior, config.new_days),
        *(config.cooling_after, config.cooling_gaps),
        *(config.dormant_after, config.dormant_gaps, config.dormant_at_most),
    )
    return [LIFECYCLES[code] for code in codes.tolist()]


@native(
    *(read(TOTALS), np.float64, np.float64, np.int64),
    *(np.float64, np.float64),
    *(np.float64, np.float64, np.float64),
)
def _codes(
    totals: NDArray[np.void],
    as_of: float,
    prior: float,
    new_days: int,
    cooling_after: float,
    cooling_gaps: float,
    dormant_after: float,
    dormant_gaps: float,
    dormant_at_most: float,
) -> NDArray[np.int64]:
    """(U,) the place of each user's in `LIFECYCLES`."""
    found = np.zeros(len(totals), np.int64)
    for user in range(len(totals)):
        row = totals[user]
        if row.days == 0:
            continue
        gap = (row.last_active - row.first_active + prior) / row.days
        dormant = min(max(dormant_gaps * gap, dormant_after), dormant_at_most)
        cooling = min(max(cooling_gaps * gap, cooling_after), dormant)
        silence = as_of - row.last_active
        if silence > dormant:
            found[user] = 3
        elif silence > cooling:
            found[user] = 2
        elif row.days >= new_days:
            found[user] = 1
    return found
