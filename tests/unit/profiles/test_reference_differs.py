"""When the shop's statistics have changed enough that every portrait is made anew."""

from datetime import UTC, datetime, timedelta

import pytest

from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import FEW, _stands, differs


def statistics(default: float = 20_000.0, /, **dwell: tuple[float, int]) -> ReferenceStatistics:
    """By category: the median of dwell in milliseconds, of how many views."""
    return ReferenceStatistics(
        dwell_median_ms={name: median for name, (median, _) in dwell.items()},
        dwell_views={name: views for name, (_, views) in dwell.items()},
        dwell_median_default=default,
    )


BEFORE = statistics(Lamps=(20_000, 6_000), Chairs=(30_000, 4_000), Vases=(20_000, 1))


def test_nothing_differs_from_itself():
    assert not differs(BEFORE, BEFORE) and not differs(ReferenceStatistics.defaults(), ReferenceStatistics.defaults())


@pytest.mark.parametrize("vases", [(23_000, 2), (60_000, 40)])
def test_a_thin_category_alone_makes_no_new_version(vases: tuple[float, int]):
    assert not differs(BEFORE, statistics(Lamps=(20_000, 6_000), Chairs=(30_000, 4_000), Vases=vases))


def test_a_category_that_was_not_there_is_thin_at_first():
    after = {"Lamps": (20_000, 6_000), "Chairs": (30_000, 4_000)}
    assert not differs(BEFORE, statistics(**after, Rugs=(60_000, 3)))
    assert differs(BEFORE, statistics(**after, Rugs=(60_000, 3_000)))


def test_a_shift_of_categories_that_are_much_viewed_does():
    assert differs(BEFORE, statistics(Lamps=(22_000, 6_000), Chairs=(30_000, 4_000), Vases=(20_000, 1)))
    assert not differs(BEFORE, statistics(Lamps=(21_000, 6_000), Chairs=(30_000, 4_000), Vases=(20_000, 1)))


def test_a_shift_of_the_shops_median_does():
    assert differs(statistics(20_000.0), statistics(22_000.0))


def test_versions_from_before_views_were_counted_are_compared_too():
    old = {key: value for key, value in BEFORE.to_json().items() if key != "dwell_views"}
    assert not differs(ReferenceStatistics.from_json(old), BEFORE)
    assert differs(ReferenceStatistics.from_json(old), statistics(Lamps=(25_000, 6_000), Chairs=(30_000, 4_000)))


@pytest.mark.parametrize(
    ("events", "later", "stands"),
    [
        (2 * FEW, timedelta(hours=1), True),
        (round(2.2 * FEW), timedelta(hours=1), False),
        (2 * FEW, timedelta(days=1), False),
    ],
)
def test_a_fit_of_many_events_stands_for_a_day_unless_they_grow(events: int, later: timedelta, stands: bool):
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert _stands({"at": now.isoformat(), "events": 2 * FEW}, events, now + later) is stands


def test_few_events_are_fitted_each_time():
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert not _stands({"at": now.isoformat(), "events": FEW}, FEW, now) and not _stands(None, 10 * FEW, now)
