from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from services.profiles.importance_fit import fit_importance, importance_intervals, purchase_lifts
from services.profiles.reference import PRIOR_IMPORTANCE, ReferenceStatistics, prior_examination
from services.profiles.reference_fit import fit_dwell, fit_examination, fit_reference

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = pa.table(
    {
        "item_id": ["a", "b", "c", "d"],
        "brand": ["Acme", "Acme", "Bolt", None],
        "categories": [["Home", "Lamps"], ["Home", "Lamps"], ["Home", "Chairs"], []],
    }
)
CATALOGUE = pl.from_arrow(ITEMS)


SCHEMA = {
    "user_id": pl.String,
    "item_id": pl.String,
    "type": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "position": pl.Int32,
    "dwell_ms": pl.Int64,
}


def log(*rows: tuple[str, str, str, float], **more: list) -> pl.DataFrame:
    """Rows of (user, item, type, day); `position` and `dwell_ms` as lists."""
    nothing = [None] * len(rows)
    values = {
        "user_id": [row[0] for row in rows],
        "item_id": [row[1] for row in rows],
        "type": [row[2] for row in rows],
        "timestamp": [START + timedelta(days=row[3]) for row in rows],
        "position": nothing,
        "dwell_ms": nothing,
    }
    return pl.DataFrame(values | more, schema=SCHEMA)


def test_lift_is_the_log_odds_of_buying_in_the_category_over_chance():
    # Purchases: Lamps 2, Chairs 2. The two clicks are on lamps; within the week u buys a lamp, v a chair.
    table = log(("u", "a", "click", 0), ("u", "b", "purchase", 2), ("v", "a", "click", 0), ("v", "c", "purchase", 3),
                ("w", "c", "purchase", 1), ("x", "a", "purchase", 1), ("x", "b", "click", 20))  # fmt: skip
    lift, evidence = purchase_lifts(table, CATALOGUE)["click"]
    # 3 clicks, 1 success; expected: u and v each buy something (share of lamps 1/2), x nothing after the click.
    assert lift == pytest.approx(np.log(1.5 / 2.5) - np.log(1.5 / 2.5))
    assert evidence == 1.0


def test_a_purchase_at_the_same_moment_or_after_the_week_is_no_success():
    table = log(("u", "a", "click", 0), ("u", "a", "purchase", 0), ("u", "a", "purchase", 7.5))
    lift, _ = purchase_lifts(table, CATALOGUE)["click"]
    assert lift == pytest.approx(np.log(0.5 / 1.5) - np.log(0.5 / 1.5))


def test_without_purchases_the_priors_stay():
    assert fit_importance(log(("u", "a", "click", 0)), CATALOGUE, PRIOR_IMPORTANCE) == PRIOR_IMPORTANCE


def test_few_purchases_hardly_move_the_priors():
    table = log(("u", "a", "click", 0), ("u", "a", "purchase", 1))
    fitted = fit_importance(table, CATALOGUE, PRIOR_IMPORTANCE)
    assert fitted["click"] == pytest.approx(PRIOR_IMPORTANCE["click"], abs=0.01)
    assert fitted["purchase"] == 1.0


def test_a_type_that_predicts_purchases_gains_on_one_that_does_not():
    rows = []
    for n in range(600):
        user, bought, other = f"u{n}", "ac"[n % 2], "ca"[n % 2]
        rows += [(user, bought, "favourite", 0), (user, other, "cart", 0), (user, bought, "purchase", 1)]
    fitted = fit_importance(log(*rows), CATALOGUE, PRIOR_IMPORTANCE)
    assert fitted["favourite"] > fitted["cart"]
    assert 0 <= fitted["cart"] < PRIOR_IMPORTANCE["cart"] / 2


def test_events_that_predict_nothing_leave_the_priors():
    random = np.random.default_rng(0)
    rows = []
    for n in range(2_000):
        seen, carted, bought = random.choice(list("ac"), 3)
        rows += [(f"u{n}", seen, "click", 0), (f"u{n}", carted, "cart", 0), (f"u{n}", bought, "purchase", 1)]
    assert fit_importance(log(*rows), CATALOGUE, PRIOR_IMPORTANCE) == PRIOR_IMPORTANCE


def test_dwell_medians_are_shrunk_on_the_logarithmic_scale():
    table = log(*[("u", "a", "view", 0)] * 20, dwell_ms=[40_000] * 20)
    medians, views, default = fit_dwell(table, CATALOGUE, prior_ms=10_000.0)
    assert default == pytest.approx(20_000)  # as many views as pseudo-views: the geometric mean
    assert views == {"Home": 20, "Lamps": 20}
    assert medians["Lamps"] == pytest.approx((40_000 * 20_000) ** 0.5)


def test_forgotten_tabs_and_zero_dwell_are_left_out():
    assert fit_dwell(log(("u", "a", "view", 0), ("u", "a", "view", 1), dwell_ms=[0, 10**9]), CATALOGUE, 7.0) == (
        {},
        {},
        7.0,
    )


def test_examination_is_told_apart_from_good_items_standing_on_top():
    truth = np.array([1.0, 0.6, 0.2])
    attraction = {"good": 0.5, "bad": 0.05}
    shown = {"good": [9_000, 6_000, 3_000], "bad": [1_000, 4_000, 7_000]}
    rows, positions = [], []
    for item, counts in shown.items():
        for position, n in enumerate(counts):
            clicks = round(n * truth[position] * attraction[item])
            rows += [("u", item, "impression", 0.0)] * n + [("u", item, "click", 0.0)] * clicks
            positions += [position] * (n + clicks)
    fitted = fit_examination(log(*rows, position=positions), prior_examination(3))
    naive = [sum(round(shown[i][p] * truth[p] * attraction[i]) for i in shown) / 10_000 for p in range(3)]
    assert fitted == pytest.approx(truth, abs=0.07)
    assert abs(naive[2] / naive[0] - 0.2) > 0.09


def test_the_examination_curve_never_rises_and_needs_clicks():
    rows = [("u", "a", "impression", 0)] * 4_000 + [("u", "a", "click", 0)] * 500
    positions = [0] * 2_000 + [1] * 2_000 + [0] * 100 + [1] * 400
    fitted = fit_examination(log(*rows, position=positions), prior_examination(3))
    assert fitted[0] == 1.0 == fitted[1]
    assert fitted[2] <= fitted[1]
    assert fit_examination(log(*rows[:4_000], position=positions[:4_000]), prior_examination(3)) == prior_examination(3)


def test_shares_split_an_items_engagement_among_its_categories():
    bought = [("u", "a", "purchase", 0), ("u", "c", "purchase", 1), ("v", "d", "purchase", 1)]
    table = log(*bought, ("v", "a", "hide", 1)).to_arrow()
    fitted = fit_reference(table, ITEMS, as_of=START + timedelta(days=2))
    assert fitted.category_prior == pytest.approx({"Home": 0.5, "Lamps": 0.25, "Chairs": 0.25})
    assert fitted.brand_prior == pytest.approx({"Acme": 0.5, "Bolt": 0.5})


def test_an_empty_shop_keeps_the_defaults():
    assert fit_reference(log().to_arrow(), ITEMS.slice(0, 0), as_of=START) == ReferenceStatistics.defaults()


def test_events_after_the_asked_time_are_not_used():
    table = log(("u", "a", "purchase", 5)).to_arrow()
    coverage = {"Chairs": 0.25, "Home": 0.75, "Lamps": 0.5}  # of the catalogue, whatever happened on it
    assert fit_reference(table, ITEMS, as_of=START) == ReferenceStatistics(category_coverage=coverage)


def shop_where_favourites_foretell(users: int) -> pl.DataFrame:
    """Nine in ten who favourite a lamp or a chair buy one; what they put into the cart tells little."""
    random, rows = np.random.default_rng(1), []
    for n in range(users):
        liked, carted = random.choice(list("ac"), 2)
        bought = liked if random.random() < 0.9 else {"a": "c", "c": "a"}[liked]
        rows += [(f"u{n}", liked, "favourite", 0), (f"u{n}", carted, "cart", 0), (f"u{n}", bought, "purchase", 1)]
    return log(*rows)


def test_intervals_of_importances_hold_the_fit_and_narrow_with_more_users():
    found = {n: importance_intervals(shop_where_favourites_foretell(n), CATALOGUE, PRIOR_IMPORTANCE, resamples=40)
             for n in (200, 1_600)}  # fmt: skip
    for fits in found.values():
        assert all(each.low <= each.value + 0.02 and each.value - 0.02 <= each.high for each in fits.values())
        assert fits["purchase"].low == fits["purchase"].high == 1.0
    widths = {n: fits["cart"].high - fits["cart"].low for n, fits in found.items()}
    assert 0 < widths[1_600] < widths[200]
    assert found[1_600]["favourite"].low > found[1_600]["cart"].high
