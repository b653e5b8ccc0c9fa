"""Decayed sums read out of states, worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import DAY, catalogue_of, event, item, states

from services.profiles.chunk import compute_taste
from services.profiles.config import ProfileConfig
from services.profiles.ranked import SparseRows
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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=4))
def test_hides_alone_have_no_mass_and_no_vector_however_they_faded(ages: list[float]) -> None:
    rows = [event("a", "seen", "hide", age * DAY) for age in ages]
    taste = compute_taste(states(SHOP, *rows, event("a", "bare", "view")), SHOP, CONFIG)
    assert taste.sums.mass[0, MASSES.index("vector")] == 0.0
    assert not taste.has_vector.any()


KINDS = ("view", "purchase", "hide", "rating", "cart")
LARGE = catalogue_of(
    *(
        item(
            f"i{k:02d}",
            None if k % 5 == 4 else np.cos(np.arange(6) * (k + 1)),
            [["Shop", "Dew"][: k % 3], ["Shop", f"Aisle {k % 4}"]][k % 2],
            None if k % 3 == 0 else f"Brand {k % 4}",
            None if k % 4 == 0 else 3.0 + k,
        )
        for k in range(20)
    )
)


def dense(rows: SparseRows, width: int) -> np.ndarray:
    found = np.zeros((rows.rows, width))
    found[rows.row(), rows.columns] = rows.values
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 60))
def test_sums_are_those_of_the_plain_formulas(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [
        event(f"u{user}", f"i{k:02d}", KINDS[kind], age * DAY, **({"rating": stars} if KINDS[kind] == "rating" else {}))
        for user, k, kind, age, stars in generator.integers((0, 0, 0, 0, 1), (4, 24, 5, 200, 6), (count, 5))
    ]
    found = states(LARGE, *rows)
    taste = compute_taste(found, LARGE, CONFIG)
    sums, held = taste.sums, taste.held
    categories, brands = dense(sums.categories, len(LARGE.category_names)), dense(sums.brands, len(LARGE.brand_names))
    for user in range(found.users):
        own = found.rows[(found.user == user) & (found.rows["count"] > 0)]
        row, mean = held.row[held.user == user], sums.mean_rating[user]
        fading = 2.0 ** (-(sums.reference[user] - own["time"]) / CONFIG.long_half_life)
        weight = (own["long"] - mean * own["long_slope"]) * fading
        assert held.weight[held.user == user] == pytest.approx(weight)
        assert sums.evidence[user] == pytest.approx((own["evidence"] * fading).sum())
        own, row, fading, weight = (values[row >= 0] for values in (own, row, fading, weight))
        net = weight - own["hides"] * fading
        has_category = LARGE.categories.toarray()[row].any(axis=1)
        masks = LARGE.has_vector[row], has_category, LARGE.brand[row] >= 0
        assert sums.mass[user] == pytest.approx([net[mask].sum() for mask in masks], abs=1e-9)
        assert categories[user] == pytest.approx(weight @ LARGE.categories.toarray()[row], abs=1e-9)
        by_brand = [weight[LARGE.brand[row] == brand].sum() for brand in range(len(LARGE.brand_names))]
        assert brands[user] == pytest.approx(by_brand, abs=1e-9)
        priced = LARGE.price[row] > 0
        logs, unpriced = np.log(LARGE.price[row][priced]), (own["unpriced"] * fading)[priced]
        assert sums.price[user] == pytest.approx([(unpriced * logs**power).sum() for power in range(3)])
        seen = own[LARGE.has_vector[row]]
        age = seen["time"].max(initial=-np.inf) - seen["time"]
        for name, half_life in (("long", CONFIG.long_half_life), ("short", CONFIG.short_half_life)):
            w = (seen[name] - mean * seen[f"{name}_slope"]) * 2.0 ** (-age / half_life)
            expected = w @ LARGE.vectors[row[LARGE.has_vector[row]]]
            assert getattr(sums, f"{name}_term")[user] == pytest.approx(expected, abs=1e-5)
