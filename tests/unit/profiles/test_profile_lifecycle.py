"""Confidence and lifecycle."""

import numpy as np
import pytest
from profile_rows import AS_OF, DAY, catalogue_of, event, item, states

from services.profiles.config import ProfileConfig
from services.profiles.lifecycle import confidence, lifecycles

SHOP = catalogue_of(item("a"))


def state(*ages_in_days: float, kind: str = "view") -> str:
    events = states(SHOP, *(event("u", "a", kind, age * DAY) for age in ages_in_days))
    return lifecycles(events, AS_OF, ProfileConfig())[0]


def test_confidence_grows_with_evidence_towards_one():
    # 1 − e^(−5 / 4) = 0.7135
    found = confidence(np.array([0.0, 5.0, 100.0]), ProfileConfig())
    assert found.tolist() == pytest.approx([0.0, 0.7135, 1.0], abs=1e-4)


def test_a_user_seen_on_one_or_two_days_is_new():
    assert state(0.1) == state(0.1, 0.2, 0.3) == state(1.2, 3.2) == "new"


def test_a_user_who_keeps_their_rhythm_is_active():
    # days 0.5, 1.5, 2.5: gap (2 + 7) / 3 = 3 days, silence half a day
    assert state(0.5, 1.5, 2.5) == "active"
    # every 30 days: gap (60 + 7) / 3 = 22.3 days; 40 days of silence are within 3 gaps
    assert state(40, 70, 100) == "active"


def test_silence_of_three_usual_gaps_is_cooling():
    # daily visitor: gap (9 + 7) / 10 = 1.6 days; a week at least: 8 days of silence
    daily = [8 + k for k in range(10)]
    assert state(*daily) == "cooling"
    assert state(*(age - 2 for age in daily)) == "active"
    # monthly visitor: 3 · 22.3 = 67 days
    assert state(70, 100, 130) == "cooling"


def test_silence_of_eight_usual_gaps_is_dormant_but_a_month_at_least_and_a_year_at_most():
    daily = [29 + k for k in range(10)]
    assert state(*daily) == "cooling"
    assert state(*(age + 2 for age in daily)) == "dormant"
    assert state(200, 230, 260) == "dormant"  # 8 · 22.3 = 179
    assert state(370, 770, 1170) == "dormant"  # 8 · 269 is more than a year
    assert state(90) == "dormant"


def test_impressions_are_no_activity():
    events = states(SHOP, event("u", "a", "impression", 0.0), event("u", "a", "view", 100 * DAY))
    assert lifecycles(events, AS_OF, ProfileConfig()) == ["dormant"]
    assert state(0.0, kind="impression") == "new"
