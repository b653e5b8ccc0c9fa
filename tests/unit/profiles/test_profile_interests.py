"""Interests: medoids, shares and names."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import catalogue_of, event, item, states

from services.profiles.config import ProfileConfig
from services.profiles.interests import assign_medoids, interests
from services.profiles.items import HeldItems, held_items
from services.profiles.naming import name_interests

CONFIG = ProfileConfig()
LIPS, NAILS = ["Beauty", "Makeup", "Lips"], ["Beauty", "Makeup", "Nails"]


def found_in(shop, *rows: dict, config: ProfileConfig = CONFIG):
    found = states(shop, *rows)
    return interests(held_items(found, shop, np.full(found.users, 4.0), config), shop, config)


def medoids(shop, found) -> list[str]:
    return shop.item_ids.take(found.medoid).to_pylist()


def test_the_medoid_is_the_item_that_best_stands_for_the_others():
    # b lies between a and c: cos(a, b) = cos(b, c) = 0.949, cos(a, c) = 0.8; one medoid covers all but 5% of the weight
    shop = catalogue_of(item("a", (1, 0.333)), item("b", (1, 0)), item("c", (1, -0.333)))
    found = found_in(shop, *(event("u", name, "purchase") for name in "abc"))
    assert (medoids(shop, found), found.weight.tolist()) == (["b"], [1.0])


def test_unlike_items_are_different_interests_with_shares_of_the_weight():
    # purchase 1 and cart 0.6: 0.625 and 0.375
    shop = catalogue_of(item("a", (1, 0)), item("b", (0, 1)))
    found = found_in(shop, event("u", "a", "cart"), event("u", "b", "purchase"))
    assert medoids(shop, found) == ["b", "a"]
    assert found.weight.tolist() == pytest.approx([0.625, 0.375])


def test_there_are_at_most_five_and_the_rest_joins_the_nearest():
    shop = catalogue_of(*(item(f"i{k}", np.eye(8)[k] + 0.01 * k) for k in range(8)))
    found = found_in(shop, *(event("u", f"i{k}", "purchase") for k in range(8)))
    assert len(found.medoid) == 5
    assert found.weight.sum() == pytest.approx(1.0)
    assert len(found.member_row) == 8


def test_equal_items_go_to_the_smaller_id():
    shop = catalogue_of(item("b", (1, 0)), item("a", (1, 0)), item("c", (1, 0)))
    assert medoids(shop, found_in(shop, *(event("u", name, "purchase") for name in "cba"))) == ["a"]


def test_disliked_items_and_items_without_a_vector_are_left_out():
    shop = catalogue_of(item("a", (1, 0)), item("b", (0, 1)), item("c"))
    found = found_in(shop, event("u", "a", "purchase"), event("u", "b", "hide"), event("u", "c", "purchase"))
    assert medoids(shop, found) == ["a"]
    assert len(found_in(shop, event("u", "c", "purchase")).medoid) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_users_interests_do_not_depend_on_who_else_is_in_the_batch(seed, others):
    generator = np.random.default_rng(seed)
    shop = catalogue_of(*(item(f"i{k:02d}", generator.normal(size=6)) for k in range(24)))
    rows = {
        user: [event(user, f"i{k:02d}", "purchase") for k in generator.permutation(24)[: generator.integers(1, 24)]]
        for user in ["me"] + [f"u{n}" for n in range(others)]
    }
    alone = found_in(shop, *rows["me"])
    together = found_in(shop, *(row for user in rows for row in rows[user]))
    mine = together.user == 0  # "me" sorts before "u…"
    assert together.medoid[mine].tolist() == alone.medoid.tolist()
    assert together.weight[mine].tolist() == pytest.approx(alone.weight.tolist())


def test_each_item_belongs_to_its_nearest_medoid():
    # rows 2, 1 and 0 of the vectors; the third item is nearest to the second
    vectors = np.array([(0.1, 0.995), (0, 1), (1, 0)], np.float32)
    rows, weights = np.array([2, 1, 0]), np.array([3.0, 2.0, 1.0])
    assigned = assign_medoids(vectors, rows, weights, CONFIG.max_interests, CONFIG.interest_min_gain)
    assert assigned[1] == assigned[2] != assigned[0]


def slow_medoids(cosines: np.ndarray, weights: np.ndarray) -> list[int]:
    """Greedy facility location as it is written in the paper, of one user."""
    share = (weights / weights.sum()).astype(np.float32)
    covered, medoids = np.zeros(len(weights), np.float32), []
    while len(medoids) < CONFIG.max_interests:
        gains = [(np.maximum(row - covered, 0) * share).sum().round(5) for row in cosines]
        if medoids and max(gains) < np.float32(CONFIG.interest_min_gain):
            break
        medoids.append(int(np.argmax(gains)))
        covered = np.maximum(covered, cosines[medoids[-1]])
    return medoids


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 90), st.integers(1, 8))
def test_of_the_heaviest_items_the_medoids_are_those_of_the_plain_formula(seed, count, dimension):
    generator = np.random.default_rng(seed)
    shop = catalogue_of(*(item(f"i{k:02d}", generator.integers(1, 4, dimension).astype(float)) for k in range(count)))
    weights = generator.integers(1, 4, count) / 4
    user, row = np.zeros(count, np.int64), np.arange(count)
    held = HeldItems(user, row, row, weights, np.zeros(count), np.zeros(count, np.int32))
    found = interests(held, shop, CONFIG)
    kept = np.sort(np.lexsort((row, -weights))[: CONFIG.interest_items])
    vectors = shop.vectors[kept].astype(np.float64)
    cosines = np.clip(vectors @ vectors.T, 0, 1).astype(np.float32).round(5)
    medoids = slow_medoids(cosines, weights[kept])
    assert found.member_row.tolist() == kept.tolist()
    assert sorted(found.medoid.tolist()) == sorted(kept[medoids].tolist())


def test_a_name_is_the_deepest_category_that_holds_half_and_the_dominant_brand():
    near = [(1, 0.02 * k) for k in range(4)]
    shop = catalogue_of(
        item("a", near[0], LIPS, "Rouge"),
        item("b", near[1], LIPS, "Rouge"),
        item("c", near[2], NAILS, "Dew"),
        item("x", (-1, 0), ["Beauty", "Skin"]),
        coverage={"Beauty": 1.0, "Makeup": 0.3, "Lips": 0.1, "Nails": 0.1},
    )
    found = found_in(shop, *(event("u", name, "purchase") for name in "abc"))
    names = name_interests(found, shop, CONFIG)
    assert names.names.to_pylist() == ["Lips · Rouge"]  # ⅔ of the weight in Lips, ⅔ of it Rouge
    assert names.categories.named(shop.category_names) == [("Makeup", "Lips", "Nails")]  # 1 · 0.7, ⅔ · 0.9, ⅓ · 0.9
    assert names.brands.named(shop.brand_names) == [("Rouge", "Dew")]


def test_a_mixed_interest_is_named_by_its_most_telling_categories():
    shop = catalogue_of(
        item("a", (1, 0.01), ["Beauty", "Lips"]),
        item("b", (1, 0.02), ["Beauty", "Nails"]),
        item("c", (1, 0.03), ["Beauty", "Skin"]),
        coverage={"Beauty": 1.0, "Lips": 0.1, "Nails": 0.2, "Skin": 0.3},
    )
    names = name_interests(found_in(shop, *(event("u", n, "purchase") for n in "abc")), shop, CONFIG)
    assert names.names.to_pylist() == ["Lips, Nails"]


def test_two_interests_of_a_user_never_share_a_name():
    shop = catalogue_of(
        item("a", (1, 0), ["Lips"], "Rouge"),
        item("b", (0, 1), ["Lips"], "Rouge"),
        item("c", (-1, 0)),
        coverage={"Lips": 0.1},
    )
    names = name_interests(found_in(shop, *(event("u", n, "purchase") for n in "abc")), shop, CONFIG)
    assert names.names.to_pylist() == ["Lips · Rouge", "Lips · Rouge · b", "c"]
