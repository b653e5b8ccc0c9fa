"""w = importance · quality · debias · decay / (1 + ln(1 + n)), each factor worked out by hand."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from profile_rows import DAY, HOUR, batch, catalogue_of, event, item

from services.profiles.config import ProfileConfig
from services.profiles.reference import ReferenceStatistics
from services.profiles.weights import (
    base_weights,
    debias,
    decay,
    depth_quality,
    dwell_quality,
    mean_ratings,
)

CONFIG = ProfileConfig()
REFERENCE = ReferenceStatistics.defaults()
SHOP = catalogue_of(item("a"), item("b"), item("c"))


def weights_of(*rows: dict, mean: float = 4.0) -> list[float]:
    events = batch(SHOP, *rows)
    return base_weights(events, SHOP, REFERENCE, CONFIG).signed(np.full(events.count, mean)).tolist()


def test_dwell_counts_one_at_the_median_and_never_two():
    # x = ½: 1 / 1½ = ⅔; x = 1: 1; x = 3: 6 / 4 = 1½; unknown: 1
    dwell = (10_000.0, 20_000.0, 60_000.0)
    assert [dwell_quality(ms, 20_000.0) for ms in dwell] == pytest.approx([2 / 3, 1.0, 1.5])
    assert dwell_quality(1e12, 1.0) < 2.0
    long, unknown = weights_of(event("u", "a", "view", dwell_ms=60_000), event("v", "a", "view"))
    assert (long, unknown) == pytest.approx((0.1 * 1.5, 0.1))


def test_depth_counts_from_a_half_to_one_and_a_half():
    assert [depth_quality(depth) for depth in (0.0, 0.5, 1.0, np.nan)] == [0.5, 1.0, 1.5, 1.0]


def test_a_click_far_down_counts_more_up_to_the_cap():
    # 1 / P = (1 + position)^0.7: 1, 4^0.7 = 2.6390, 41^0.7 = 13.46, capped at 10; unknown position: 1
    found = [debias(at, np.array(REFERENCE.examination), CONFIG.max_debias) for at in (0.0, 3.0, 40.0, 1e9, np.nan)]
    assert found == pytest.approx([1.0, 2.6390, 10.0, 10.0, 1.0], abs=1e-4)


def test_only_clicks_are_corrected_for_their_position():
    clicked, viewed = weights_of(event("u", "a", "click", position=3), event("v", "a", "view", position=3))
    assert clicked == pytest.approx(0.2 * 2.6390, abs=1e-4)
    assert viewed == pytest.approx(0.1)


def test_decay_halves_at_the_half_life():
    assert decay(np.array([0.0, 60 * DAY, 120 * DAY]), 60 * DAY).tolist() == [1.0, 0.5, 0.25]


def test_repeated_events_on_an_item_count_less_and_less():
    # purchases of the same item: 1, 1 / (1 + ln 2) = 0.5906, 1 / (1 + ln 3) = 0.4765; another item starts at 1
    rows = [event("u", "a", "purchase", age) for age in (3 * HOUR, 2 * HOUR, HOUR)]
    found = weights_of(*rows, event("u", "b", "purchase"), event("v", "a", "purchase"))
    assert found == pytest.approx([1.0, 1 / (1 + log(2)), 1 / (1 + log(3)), 1.0, 1.0])


def test_earlier_events_follow_event_time_not_arrival_and_leave_impressions_out():
    late = event("u", "a", "view", 5 * HOUR)
    events = batch(
        SHOP,
        event("u", "a", "impression", 9 * HOUR),
        event("u", "a", "click", 2 * HOUR),
        late,
        event("u", "a", "purchase", HOUR),
    )
    # the view is the first that counts: 0.1, 0.2 / (1 + ln 2), 1 / (1 + ln 3)
    weights = base_weights(events, SHOP, REFERENCE, CONFIG)
    assert weights.evidence.tolist() == pytest.approx([0.0, 0.1, 0.2 / (1 + log(2)), 1 / (1 + log(3))])


def test_impressions_and_searches_say_nothing_of_an_item():
    assert weights_of(event("u", "a", "impression"), event("u", None, "search")) == [0.0, 0.0]


def test_hide_pushes_away():
    assert weights_of(event("u", "a", "hide")) == [-1.0]


def test_ratings_count_by_their_distance_from_the_users_mean():
    # importance 0.7, quality ½ + (r − mean) / 2 with mean 4: 5 → 1, 4 → ½, 3 → 0, 1 → −1
    rows = [event(user, "a", "rating", rating=stars) for user, stars in zip("stuv", (5, 4, 3, 1), strict=True)]
    assert weights_of(*rows) == pytest.approx([0.7, 0.35, 0.0, -0.7])
    # a generous user's 4 says less than a severe user's
    assert weights_of(event("u", "a", "rating", rating=4), mean=4.8) == pytest.approx([0.7 * 0.1])
    assert weights_of(event("u", "a", "rating", rating=4), mean=2.8) == pytest.approx([0.7 * 1.1])


def test_reviews_count_by_rating_and_sentiment():
    # rating 5 → 1 at mean 4; sentiment 0.8 → 1.3, −1 → −½; both: their mean; neither: ½
    rows = [
        event("s", "a", "review", rating=5),
        event("t", "a", "review", sentiment=0.8),
        event("u", "a", "review", rating=5, sentiment=0.8),
        event("v", "a", "review", sentiment=-1.0),
        event("w", "a", "review"),
    ]
    expected = [0.7 * q for q in (1.0, 1.3, 1.15, -0.5, 0.5)]
    assert weights_of(*rows) == pytest.approx(expected, abs=1e-6)


def test_few_ratings_leave_the_mean_near_the_prior():
    # none: 4; one of 5: (5 + 3 · 4) / 4 = 4.25; nine of 1: (9 + 12) / 12 = 1.75
    found = mean_ratings(np.array([0.0, 1.0, 9.0]), np.array([0.0, 5.0, 9.0]), CONFIG)
    assert found.tolist() == [4.0, 4.25, 1.75]


def test_dwell_is_measured_against_the_deepest_category_that_has_a_median():
    shop = catalogue_of(
        item("a", categories=["Beauty", "Makeup", "Lips"]),
        item("b", categories=["Beauty", "Fragrance"]),
        item("c"),
    )
    reference = replace(REFERENCE, dwell_median_ms={"Beauty": 10_000.0, "Makeup": 30_000.0})
    rows = [event("s", "a", "view", dwell_ms=90_000), event("t", "b", "view", dwell_ms=90_000)]
    rows += [event("u", "c", "view", dwell_ms=60_000), event("v", "unknown", "view", dwell_ms=20_000)]
    # medians 30, 10, 20 and 20 seconds: x = 3, 9, 3, 1
    found = base_weights(batch(shop, *rows), shop, reference, CONFIG).signed(np.full(4, 4.0))
    assert found.tolist() == pytest.approx([0.1 * 1.5, 0.1 * 1.8, 0.1 * 1.5, 0.1])
