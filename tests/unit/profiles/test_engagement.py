from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_repo import names
from services.profiles.engagement import EngagementSums, compute_engagement, engagement_features
from services.profiles.engagement_features import popularity, shrunk_mean, smoothed_rate, trend
from services.profiles.reference import ReferenceStatistics

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFERENCE = ReferenceStatistics.defaults()


def events(*rows: tuple[str, str | None, str, timedelta], **more: list) -> pa.Table:
    """Rows of (user, item, type, age at AS_OF)."""
    table = {
        "user_id": [row[0] for row in rows],
        "item_id": pa.array([row[1] for row in rows], pa.string()),
        "type": [row[2] for row in rows],
        "timestamp": pa.array([AS_OF - row[3] for row in rows], pa.timestamp("us", "UTC")),
    }
    return pa.table(table | more)


def by_item(table: pa.Table) -> dict[str, dict[str, float]]:
    return {row["item_id"]: row for row in table.to_pylist()}


def test_windows_count_by_event_time_and_end_at_the_asked_time():
    rows = by_item(
        compute_engagement(
            [
                events(
                    ("u", "a", "view", timedelta(hours=23)),
                    ("u", "a", "view", timedelta(days=6)),
                    ("v", "a", "view", timedelta(days=29)),
                    ("v", "a", "view", timedelta(days=31)),
                    ("v", "a", "view", timedelta(minutes=-1)),
                    ("v", "a", "purchase", timedelta(days=300)),
                    ("v", None, "search", timedelta(days=1)),
                )
            ],
            AS_OF,
            REFERENCE,
        )
    )
    assert list(rows) == ["a"]
    assert [rows["a"][f"views_{w}"] for w in ("1d", "7d", "30d")] == [1, 2, 3]
    assert (rows["a"]["purchases_30d"], rows["a"]["purchases_total"], rows["a"]["users_total"]) == (0, 1, 2)
    assert rows["a"][names.EVENT_TIMESTAMP] == AS_OF


def test_chunks_of_users_add_up_to_one_pass():
    first = events(("u", "a", "click", timedelta(days=2)), ("u", "b", "purchase", timedelta(days=3)))
    second = events(("v", "a", "purchase", timedelta(hours=1)), ("v", "c", "hide", timedelta(days=9)))
    chunked = compute_engagement([first, second], AS_OF, REFERENCE)
    assert chunked.equals(compute_engagement([pa.concat_tables([first, second])], AS_OF, REFERENCE))
    assert chunked.column_names == ["item_id", names.EVENT_TIMESTAMP, *names.ENGAGEMENT_FEATURES]


def test_a_user_counts_once_an_item_and_hides_do_not_count():
    rows = by_item(
        compute_engagement(
            [
                events(
                    ("u", "a", "view", timedelta(days=1)),
                    ("u", "a", "purchase", timedelta(days=1)),
                    ("v", "a", "hide", timedelta(days=1)),
                )
            ],
            AS_OF,
            REFERENCE,
        )
    )
    assert rows["a"]["users_total"] == 1


def test_no_events_give_no_rows():
    assert len(engagement_features(EngagementSums(AS_OF, REFERENCE))) == 0


def test_popularity_of_an_old_shop_keeps_its_order_and_its_damping():
    old = timedelta(days=3_650)
    table = compute_engagement(
        [
            events(
                ("u", "a", "purchase", old),
                ("v", "a", "purchase", old),
                ("v", "b", "purchase", old),
                ("w", "c", "purchase", old + timedelta(days=30)),
            )
        ],
        AS_OF,
        REFERENCE,
        newest=AS_OF - old,
    )
    rows = by_item(table)
    assert rows["a"]["popularity"] == 1.0
    assert rows["b"]["popularity"] == pytest.approx(np.log(2) / np.log(3), abs=1e-4)
    assert rows["c"]["popularity"] == pytest.approx(np.log(1.5) / np.log(3), abs=1e-4)


def test_popularity_is_not_below_zero_for_what_is_only_hidden():
    assert popularity(np.array([-2.0, 3.0])).tolist() == [0.0, 1.0]
    assert popularity(np.array([0.0])).tolist() == [0.0]


def test_trend_is_measured_against_the_shops_own_week():
    # The shop has 10 of its 40 engagements in the last week; item 0 has 5 of its 8, expected are 2.
    assert trend(np.array([5.0, 5.0]), np.array([8.0, 32.0]), 3.0) == pytest.approx([8 / 5, 8 / 11])
    assert trend(np.array([0.0]), np.array([0.0]), 3.0).tolist() == [1.0]


def test_rates_are_pulled_to_the_shops_mean_by_the_fewer_trials():
    rates = smoothed_rate(np.array([0.0, 20.0, 1.0]), np.array([0.0, 200.0, 1.0]), (10.0, 10.0))
    mean = 21 / 201
    assert rates == pytest.approx([mean, (20 + 10 * mean) / 210, (1 + 10 * mean) / 11])


def test_rates_are_unknown_in_a_shop_without_trials():
    assert np.isnan(smoothed_rate(np.array([3.0]), np.array([0.0]), (5, 100))).all()


def test_a_click_low_in_a_list_counts_for_more_than_one_at_the_top():
    kinds = ["impression"] * 4 + ["click"] * 2
    shown = events(*[("u", "ab"[n % 2], kind, timedelta(days=1)) for n, kind in enumerate(kinds)])
    shown = shown.append_column("position", pa.array([0, 9, 0, 9, 0, 9], pa.int32()))
    rows = by_item(compute_engagement([shown], AS_OF, REFERENCE))
    assert rows["b"]["click_rate"] > rows["a"]["click_rate"]


def test_served_lists_stand_in_for_impressions_that_the_shop_does_not_send():
    clicks = events(("u", "a", "click", timedelta(days=1)), ("u", "b", "click", timedelta(days=1)))
    served = pa.table({"item_id": ["a", "b", "z"], "position": [0, 0, 0], "shown": [10, 90, 5]})
    rows = by_item(compute_engagement([clicks], AS_OF, REFERENCE, served=served))
    assert rows["a"]["click_rate"] > rows["b"]["click_rate"]
    assert by_item(compute_engagement([clicks], AS_OF, REFERENCE))["a"]["click_rate"] is None


def test_the_mean_rating_of_few_leans_to_the_shops():
    # Shop mean 4; one 5-star rating against five pseudo-ratings of 4.
    assert shrunk_mean(np.array([5.0, 15.0, 0.0]), np.array([1.0, 4.0, 0.0]), 5.0) == pytest.approx(
        [25 / 6, 35 / 9, np.nan], nan_ok=True
    )
