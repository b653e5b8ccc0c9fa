"""Behaviour statistics by window, worked out by hand."""

import numpy as np
import pytest
from profile_rows import AS_OF, DAY, HOUR, catalogue_of, event, item, read_user, states

from feature_repo.names import BEHAVIOUR_FEATURES
from services.profiles.behaviour import behaviour

SHOP = catalogue_of(item("a"), item("b"))


def values(*rows: dict, user: str = "u") -> dict[str, float]:
    events = states(SHOP, *rows)
    found = behaviour(events, AS_OF)
    assert found.shape == (events.users, len(BEHAVIOUR_FEATURES))
    return dict(zip(BEHAVIOUR_FEATURES, found[read_user(events, user)].tolist(), strict=True))


def test_events_are_counted_in_each_window_they_fall_into():
    found = values(
        event("u", "a", "view", HOUR / 2),
        event("u", "a", "view", 2 * HOUR),
        event("u", "b", "view", 6 * DAY),
        event("u", "b", "view", 29 * DAY),
        event("u", "b", "view", 31 * DAY),
        event("other", "b", "view", HOUR / 2),
    )
    assert [found[f"views_{w}"] for w in ("1h", "1d", "7d", "30d")] == [1, 2, 3, 4]
    assert [found[f"clicks_{w}"] for w in ("1h", "1d", "7d", "30d")] == [0, 0, 0, 0]


def test_the_end_of_a_window_is_exclusive():
    found = values(event("u", "a", "click", HOUR), event("u", "a", "click", HOUR - 1), event("u", "a", "click", 0.0))
    assert (found["clicks_1h"], found["clicks_1d"]) == (2, 3)


def test_every_counted_kind_has_its_columns():
    kinds = {
        "favourites": "favourite",
        "carts": "cart",
        "purchases": "purchase",
        "reviews": "review",
        "searches": "search",
    }
    rows = [event("u", None if kind == "search" else "a", kind, HOUR / 2) for kind in kinds.values()]
    found = values(*rows)
    assert {name: found[f"{name}_1h"] for name in kinds} == dict.fromkeys(kinds, 1.0)


def test_dwell_is_summed_over_views():
    found = values(
        event("u", "a", "view", HOUR / 2, dwell_ms=1500),
        event("u", "a", "view", 2 * DAY, dwell_ms=4000),
        event("u", "a", "view", HOUR / 2),
    )
    assert [found[f"dwell_ms_{w}"] for w in ("1h", "1d", "7d", "30d")] == [1500, 1500, 5500, 5500]


def test_depth_and_click_position_are_means_over_the_last_month():
    found = values(
        event("u", "a", "view", HOUR, depth=0.25),
        event("u", "a", "view", 2 * DAY, depth=0.75),
        event("u", "a", "view", 31 * DAY, depth=0.0),
        event("u", "a", "click", HOUR, position=2),
        event("u", "a", "click", HOUR, position=5),
        event("u", "a", "click", 31 * DAY, position=50),
    )
    assert (found["depth_mean"], found["click_position_mean"]) == (0.5, 3.5)


def test_ratings_and_sentiment_are_over_all_time():
    # 5, 3 and a review's 1: mean 3, population deviation √(8 / 3) = 1.63299
    found = values(
        event("u", "a", "rating", 400 * DAY, rating=5),
        event("u", "b", "rating", 2 * DAY, rating=3),
        event("u", "b", "review", DAY, rating=1, sentiment=-0.5),
        event("u", "a", "review", DAY, sentiment=0.75),
    )
    assert (found["rating_mean"], found["sentiment_mean"]) == (3.0, 0.125)
    assert found["rating_std"] == pytest.approx(1.63299, abs=1e-5)


def test_what_was_never_observed_is_undefined_not_zero():
    found = values(event("u", "a", "purchase", HOUR))
    names = ("depth_mean", "click_position_mean", "rating_mean", "rating_std", "sentiment_mean")
    assert np.isnan([found[name] for name in names]).all()
