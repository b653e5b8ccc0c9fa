"""Category, brand and price affinities, smoothed, worked out by hand."""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from profile_rows import catalogue_of, event, item, states
from scipy import sparse

from services.profiles.affinities import BAND, affinities, price_band, smoothed_shares
from services.profiles.chunk import compute_taste
from services.profiles.config import ProfileConfig
from services.profiles.ranked import SparseRows
from services.profiles.reference import ReferenceStatistics

CONFIG = ProfileConfig()
REFERENCE = ReferenceStatistics.defaults()


def read(shop, *rows, reference=REFERENCE):
    sums = compute_taste(states(shop, *rows, reference=reference), shop, CONFIG).sums
    found = affinities(sums, shop, reference, CONFIG)
    return found.categories.pairs(shop.category_names), found.brands.pairs(shop.brand_names), found.price


def test_shares_are_drawn_towards_the_prior():
    # (3 + 1 · 0.2) / (4 + 1) = 0.64 and (1 + 1 · 0.5) / 5 = 0.3; untouched names are left out
    found = smoothed_shares(
        SparseRows.of(sparse.csr_array(np.array([[3.0, 1.0, 0.0]]))), np.array([4.0]), np.array([0.2, 0.5, 0.3]), 1.0
    )
    assert found.columns.tolist() == [0, 1]
    assert found.values.tolist() == pytest.approx([0.64, 0.3])


def test_dislikes_lower_a_share_but_never_raise_another_above_one():
    # the mass 3 − 2 = 1 is less than the weight 3 on the first name: shares are of 3
    found = smoothed_shares(SparseRows.of(sparse.csr_array(np.array([[3.0, -2.0]]))), np.array([1.0]), np.zeros(2), 1.0)
    assert (found.columns.tolist(), found.values.tolist()) == ([0], [0.75])


def test_deeper_categories_count_more_than_those_the_whole_shop_carries():
    shop = catalogue_of(
        item("a", categories=["Beauty", "Makeup", "Lipstick"]), coverage={"Beauty": 1.0, "Makeup": 0.4, "Lipstick": 0.1}
    )
    categories, _, _ = read(shop, event("u", "a", "purchase"))
    # share 1 / (1 + 1) = ½ on each level, times 1 − coverage; "Beauty" says nothing
    assert categories == [(("Lipstick", 0.45), ("Makeup", 0.3))]


def test_brands_are_smoothed_with_the_shops_prior_and_unbranded_items_left_out():
    shop = catalogue_of(item("a", brand="Dew"), item("b", brand="Rouge"), item("c"))
    reference = replace(REFERENCE, brand_prior={"Dew": 0.4, "Rouge": 0.1})
    rows = [event("u", name, "purchase") for name in "abc"] + [event("u", "a", "cart")]
    _, brands, _ = read(shop, *rows, reference=reference)
    # Dew: 1 + 0.6 / (1 + ln 2) = 1.35437, mass 2.35437: (1.35437 + 0.4) / 3.35437 = 0.5230;
    # Rouge: 1.1 / 3.35437 = 0.3279
    assert brands == [(("Dew", 0.523), ("Rouge", 0.3279))]


def test_a_hidden_brand_is_no_affinity():
    shop = catalogue_of(item("a", brand="Dew"), item("b", brand="Rouge"))
    _, brands, _ = read(shop, event("u", "a", "hide"), event("u", "b", "purchase"))
    assert brands == [(("Rouge", 0.5),)]


def test_at_most_twenty_affinities_are_kept():
    shop = catalogue_of(*(item(f"i{k:02d}", brand=f"b{k:02d}") for k in range(30)))
    _, brands, _ = read(shop, *(event("u", f"i{k:02d}", "purchase") for k in range(30)))
    assert len(brands[0]) == 20


def test_price_is_a_geometric_mean_with_a_band():
    # purchases at 10 and 40: mean of logs = ln 20; spread 2 · (ln 2)² = 0.9609;
    # deviation = √((0.9609 + 0.5 · 0.16) / 2.5) = 0.6453; band 20 · e^(±1.2816 · 0.6453)
    shop = catalogue_of(item("a", price=10.0), item("b", price=99.0))
    _, _, price = read(shop, event("u", "a", "purchase"), event("u", "b", "purchase", price=40.0))
    deviation = sqrt((2 * log(2) ** 2 + 0.08) / 2.5)
    assert deviation == pytest.approx(0.6453, abs=1e-4)
    assert price[0].tolist() == pytest.approx([20.0, 20 * exp(-BAND * deviation), 20 * exp(BAND * deviation)])


def test_one_purchase_has_a_band_and_no_price_has_none():
    # deviation = √(0.08 / 1.5) = 0.2309: 10 · e^(±0.2960) = 7.44 to 13.44
    band = price_band(np.array([[1.0, log(10), log(10) ** 2], [0.0, 0.0, 0.0]]), CONFIG)
    assert band[0].tolist() == pytest.approx([10.0, 7.44, 13.44], abs=0.01)
    assert np.isnan(band[1]).all()


def test_a_badly_rated_purchase_still_tells_the_price_level_but_a_hide_does_not():
    shop = catalogue_of(item("a", price=10.0), item("b", price=500.0))
    _, _, price = read(shop, event("u", "a", "rating", rating=1), event("u", "b", "hide"))
    assert price[0, 0] == pytest.approx(10.0)
