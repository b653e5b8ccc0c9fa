"""Confidence in a portrait, and where the user stands in their life with the shop."""

import numpy as np
from numpy.typing import NDArray

from services.core.types import Lifecycle
from services.profiles.config import ProfileConfig
from services.profiles.state import UserStates

Floats = NDArray[np.float64]


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
    days, first, last = (states.totals[name] for name in ("days", "first_active", "last_active"))
    with np.errstate(invalid="ignore"):
        span = np.where(days > 0, last - first, 0.0)
    gap = (span + config.rhythm_prior) / np.maximum(days, 1.0)
    silence = as_of - last
    dormant_after = np.clip(config.dormant_gaps * gap, config.dormant_after, config.dormant_at_most)
    cooling_after = np.clip(config.cooling_gaps * gap, config.cooling_after, dormant_after)
    state = np.select(
        [days == 0, silence > dormant_after, silence > cooling_after, days < config.new_days],
        [Lifecycle.NEW.value, Lifecycle.DORMANT.value, Lifecycle.COOLING.value, Lifecycle.NEW.value],
        Lifecycle.ACTIVE.value,
    )
    return state.tolist()
