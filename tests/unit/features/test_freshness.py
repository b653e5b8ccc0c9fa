import msgspec
import numpy as np
import pytest

from feature_repo.names import BEHAVIOUR_FEATURES
from services.features.freshness import EXPIRED, MISSING, PRESENT, status_of, without_passed_windows
from services.features.portrait import Portrait, cold_portrait

HOUR, DAY = 3_600.0, 86_400.0
ALL_ONES = np.ones(len(BEHAVIOUR_FEATURES), "<f4").tobytes()


def portrait(behaviour: bytes = ALL_ONES) -> Portrait:
    return msgspec.structs.replace(cold_portrait("ada", 0.0), behaviour=behaviour)


def read(found: Portrait) -> dict[str, float]:
    return dict(zip(BEHAVIOUR_FEATURES, found.behaviour_values().tolist(), strict=True))


@pytest.mark.parametrize(
    ("timestamp", "ttl", "status"),
    [(None, 10.0, MISSING), (95.0, 10.0, PRESENT), (90.0, 10.0, PRESENT), (89.9, 10.0, EXPIRED), (0.5, 0.0, PRESENT)],
)
def test_values_count_until_their_views_ttl_is_over(timestamp: float | None, ttl: float, status: str):
    found = status_of(timestamp, ttl, now=100.0)
    assert (found.timestamp, found.status) == (timestamp, status)


def test_a_fresh_portrait_is_left_as_it_is():
    fresh = portrait()
    assert without_passed_windows(fresh, HOUR - 1) == (fresh, 0)


def test_windows_that_have_passed_count_nothing_and_longer_ones_stay():
    kept, changed = without_passed_windows(portrait(), 2 * HOUR)
    values = read(kept)
    assert {name for name, value in values.items() if value != 1.0} == {n for n in values if n.endswith("_1h")}
    assert values["views_1h"] == values["dwell_ms_1h"] == 0.0 and changed == 8


def test_after_the_longest_window_only_what_has_no_window_is_left():
    values = read(without_passed_windows(portrait(), 31 * DAY)[0])
    assert values["purchases_30d"] == 0.0
    assert np.isnan(values["depth_mean"]) and np.isnan(values["click_position_mean"])
    assert (values["rating_mean"], values["rating_std"], values["sentiment_mean"]) == (1.0, 1.0, 1.0)


def test_what_was_nothing_before_is_not_counted_as_replaced():
    nothing = without_passed_windows(portrait(), 31 * DAY)[0]
    assert without_passed_windows(nothing, 32 * DAY)[1] == 0


def test_a_portrait_without_behaviour_has_nothing_to_replace():
    assert without_passed_windows(portrait(b""), 31 * DAY)[1] == 0
