import numpy as np
import pytest
from recommend_shop import IDS

from services.features.filters import ItemFilter, PriceRange, attribute_key, filter_mask, passing_rows, rows_with_any
from services.features.snapshot import ItemSnapshot


def passing(shop: ItemSnapshot, wanted: ItemFilter) -> list[str]:
    mask = filter_mask(wanted, shop, np.arange(shop.count, dtype=np.int32))
    assert passing_rows(wanted, shop).tolist() == mask.nonzero()[0].tolist()
    return [item for item, passes in zip(IDS, mask, strict=True) if passes]


def test_unavailable_items_are_out_unless_asked_for(shop: ItemSnapshot):
    assert "gong" not in passing(shop, ItemFilter())
    assert "gong" in passing(shop, ItemFilter(available=None))
    assert passing(shop, ItemFilter(available=False)) == ["gong"]


def test_any_of_the_categories_is_enough(shop: ItemSnapshot):
    assert passing(shop, ItemFilter(categories=("Textiles", "Art"))) == ["apron", "easel"]
    assert passing(shop, ItemFilter(categories=("Kitchen",))) == ["apron", "bowl", "cup", "fork"]


def test_a_category_nobody_has_leaves_nothing(shop: ItemSnapshot):
    assert passing(shop, ItemFilter(categories=("Boats",))) == []


def test_brands(shop: ItemSnapshot):
    assert passing(shop, ItemFilter(brands=("Nord",))) == ["desk", "fork", "hook"]


def test_price_bounds_are_inclusive_and_leave_unknown_prices_out(shop: ItemSnapshot):
    assert passing(shop, ItemFilter(price=PriceRange(8, 25))) == ["apron", "bowl", "cup"]
    assert passing(shop, ItemFilter(price=PriceRange(max=8))) == ["cup", "hook"]
    assert "fork" not in passing(shop, ItemFilter(price=PriceRange(min=0)))


def test_attributes_all_must_hold_with_any_of_their_values(shop: ItemSnapshot):
    assert passing(shop, ItemFilter(attributes={"colour": "blue"})) == ["bowl", "cup"]
    assert passing(shop, ItemFilter(attributes={"colour": ("red", "grey")})) == ["apron", "fork"]
    assert passing(shop, ItemFilter(attributes={"colour": "blue", "size": "L"})) == []


def test_all_given_fields_must_hold(shop: ItemSnapshot):
    wanted = ItemFilter(categories=("Tableware",), brands=("Hale",), price=PriceRange(max=10))
    assert passing(shop, wanted) == ["cup"]


def test_rows_of_lists_that_hold_any_of_some_codes():
    indptr, codes = np.array([0, 2, 2, 3, 6], np.int16), np.array([0, 1, 1, 2, 0, 1], np.int16)
    assert rows_with_any(indptr, codes, np.array([0, 1], np.int32), 3).tolist() == [0, 2, 3]
    assert rows_with_any(indptr, codes, np.array([2], np.int32), 3).tolist() == [3]
    assert rows_with_any(indptr, codes, np.empty(0, np.int32), 3).tolist() == []
    assert rows_with_any(indptr[:1], codes[:0], np.array([0], np.int32), 1).tolist() == []


@pytest.mark.parametrize(
    ("value", "key"), [(True, "a=true"), (3.0, "a=3"), (2.5, "a=2.5"), ("x", "a=x"), (7, "a=7"), (False, "a=false")]
)
def test_attribute_values_are_spelt_as_the_snapshot_spells_them(value: object, key: str):
    assert attribute_key("a", value) == key
