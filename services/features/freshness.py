"""How fresh features are, and what stands in for those that are too old to be used (TTLs of the feature views)."""

from dataclasses import dataclass

import msgspec
import numpy as np

from feature_repo.names import BEHAVIOUR_DEFAULTS, BEHAVIOUR_FEATURES, BEHAVIOUR_LIFE_S
from services.features.portrait import Portrait

PRESENT, EXPIRED, MISSING, UNAVAILABLE = "present", "expired", "missing", "unavailable"

_LIFE_S = np.array([BEHAVIOUR_LIFE_S[name] for name in BEHAVIOUR_FEATURES])
_DEFAULTS = np.array([BEHAVIOUR_DEFAULTS[name] for name in BEHAVIOUR_FEATURES], "<f4")
_SHORTEST_S = float(_LIFE_S.min())


@dataclass(frozen=True)
class FeatureStatus:
    """Of one view and entity: event time of its values (epoch seconds) and whether they count.

    `expired`: older than the view's TTL, which Feast does not enforce on reads. `unavailable`: the online store did not
    answer.
    """

    timestamp: float | None
    status: str


def status_of(timestamp: float | None, ttl_s: float, now: float) -> FeatureStatus:
    """The status of values as of `timestamp` (None: there are none); a TTL of 0 never ends."""
    if timestamp is None:
        return FeatureStatus(None, MISSING)
    return FeatureStatus(timestamp, EXPIRED if ttl_s and now - timestamp > ttl_s else PRESENT)


def without_passed_windows(portrait: Portrait, now: float) -> tuple[Portrait, int]:
    """The portrait with the declared default for each behaviour feature whose whole window has passed since `as_of`,
    and how many features that changed.

    Nothing is known of a user who stays away but that nothing happened, so these defaults are exact.
    """
    age = now - portrait.as_of
    if age < _SHORTEST_S or not portrait.behaviour:
        return portrait, 0
    values = portrait.behaviour_values()
    kept = np.where(age >= _LIFE_S, _DEFAULTS, values)
    changed = int(np.count_nonzero((kept != values) & ~(np.isnan(kept) & np.isnan(values))))
    return (msgspec.structs.replace(portrait, behaviour=kept.tobytes()), changed) if changed else (portrait, 0)
