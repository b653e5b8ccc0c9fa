"""Statistics of the whole shop that event weights refer to: versioned, so that a new version recomputes the profiles.

The defaults are the prior; `services.profiles.reference_fit.fit_reference` moves them towards the shop's own data.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from services.core.errors import CorruptArtefact
from services.core.types import EventType

POSITIONS = 50
"""Positions with an examination probability of their own; what stands lower is examined like the last of them."""

EXAMINATION_DECAY = 0.7

PRIOR_IMPORTANCE: dict[str, float] = {
    EventType.IMPRESSION.value: 0.0,
    EventType.VIEW.value: 0.1,
    EventType.CLICK.value: 0.2,
    EventType.FAVOURITE.value: 0.5,
    EventType.CART.value: 0.6,
    EventType.PURCHASE.value: 1.0,
    EventType.RATING.value: 0.7,
    EventType.REVIEW.value: 0.7,
    EventType.SEARCH.value: 0.2,
    EventType.HIDE.value: -1.0,
}
"""How much an event of a type says about taste, a purchase being 1. Negative pushes away; 0 says nothing."""


def prior_examination(positions: int = POSITIONS) -> tuple[float, ...]:
    """P(examined | position) = 1 / (1 + position)^0.7, the power law of eye-tracking and click studies."""
    return tuple((1.0 / np.power(1.0 + np.arange(positions), EXAMINATION_DECAY)).tolist())


@dataclass(frozen=True)
class ReferenceStatistics:
    """What event weights are measured against.

    `importance` by event type (signed, a purchase is 1); `dwell_median_ms` by category name, each of `dwell_views`
    views, `dwell_median_default` where a category has none; `examination` = P(examined) by position, the first being 1
    and never rising; `category_prior`, `brand_prior` = the shop's share of engagement by name (together at most 1; a
    name that is missing has a share of 0); `category_coverage` = the share of the shop's items that carry a category:
    it must not move with every new item, or a portrait would depend on when it was made.
    """

    version: int = 0
    importance: Mapping[str, float] = field(default_factory=lambda: dict(PRIOR_IMPORTANCE))
    dwell_median_ms: Mapping[str, float] = field(default_factory=dict)
    dwell_views: Mapping[str, int] = field(default_factory=dict)
    dwell_median_default: float = 20_000.0
    examination: tuple[float, ...] = field(default_factory=prior_examination)
    category_prior: Mapping[str, float] = field(default_factory=dict)
    brand_prior: Mapping[str, float] = field(default_factory=dict)
    category_coverage: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def defaults(cls) -> "ReferenceStatistics":
        """The priors alone, version 0: what holds before anything was fitted."""
        return cls()

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable object: the `value` of table `reference_statistics`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], version: int | None = None) -> "ReferenceStatistics":
        """The statistics of a `to_json` object; `version` (the row's) overrides the one inside.

        Raises:
            CorruptArtefact: the object has not the fields of this class.
        """
        try:
            fields = {**value, "examination": tuple(float(p) for p in value["examination"])}
            return cls(**{**fields, "version": fields["version"] if version is None else version})
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtefact(
                "The stored reference statistics cannot be read: run `portrait profiles recompute` to fit them anew"
            ) from error

    def aligned(self, statistic: str, names: pa.Array, missing: float = 0.0) -> NDArray[np.float64]:
        """(len(names),) the statistic that is a mapping of this name, read-only, `missing` where it lacks a name.

        Kept for the `names` asked for last: an update of a few users must not cost a look at all of a shop's brands.
        """
        kept = self.__dict__.setdefault("_aligned", {})
        found = kept.get(statistic)
        if found is None or found[0] is not names:
            values = getattr(self, statistic)
            array = np.array([values.get(name, missing) for name in names.to_pylist()], np.float64)
            array.setflags(write=False)
            found = kept[statistic] = (names, array)
        return found[1]

    def examination_at(self, positions: ArrayLike) -> NDArray[np.float64]:
        """P(examined) of 0-based positions (any shape); NaN or negative positions (unknown) get 1."""
        position = np.asarray(positions, np.float64)
        known = np.isfinite(position) & (position >= 0)
        index = np.clip(np.where(known, position, 0), 0, len(self.examination) - 1).astype(np.int64)
        return np.where(known, np.asarray(self.examination, np.float64)[index], 1.0)

    def importance_of(self, type_name: str) -> float:
        """The importance of an event type; 0 for a type it does not know."""
        return float(self.importance.get(type_name, 0.0))
