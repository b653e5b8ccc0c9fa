"""Decayed sums read out of states, worked out by hand."""

import numpy as np
import pytest
from profile_rows import DAY, catalogue_of, event, item, states

from services.profiles.chunk import compute_taste
from services.profiles.config import ProfileConfig
from services.profiles.sums import MASSES, ProfileSums

CONFIG = ProfileConfig()
SHOP = catalogue_of(item("bare", categories=["Other"]), item("seen", (0.6, 0.8), ["Known"], "Dew", 8.0))


def sums_of(*rows: dict) -> ProfileSums:
    return compute_taste(states(SHOP, *rows), SHOP, CONFIG).sums


def test_a_sum_is_as_of_the_newest_event_and_halves_at_each_half_life() -> None:
    older = CONFIG.long_half_life
    sums = sums_of(event("a", "seen", "purchase", older), event("a", "bare", "purchase"))
    # a purchase weighs 1 when it is new, and the older one a half
    assert sums.evidence == pytest.approx([1.5])
    assert sums.mass[0, MASSES.index("category")] == pytest.approx(1.5)
    assert sums.mass[0, MASSES.index("brand")] == pytest.approx(0.5)
    assert sums.price[0, :2] == pytest.approx([0.5, 0.5 * np.log(8.0)])


def test_vectors_of_however_old_events_do_not_underflow() -> None:
    old = 40 * 365 * DAY
    sums = sums_of(event("a", "seen", "purchase", old), event("a", "bare", "purchase"))
    assert sums.long_term[0] == pytest.approx([0.6, 0.8], abs=1e-6)
    assert sums.short_term[0] == pytest.approx([0.6, 0.8], abs=1e-6)


def test_who_did_nothing_that_says_anything_has_zeros() -> None:
    sums = sums_of(event("a", None, "search"))
    assert sums.reference.tolist() == [-np.inf]
    assert (sums.evidence.tolist(), sums.mass.tolist(), sums.price.tolist()) == ([0.0], [[0.0] * 3], [[0.0] * 3])
    assert not sums.long_term.any() and not sums.short_term.any()
