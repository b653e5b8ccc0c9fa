"""Names of interests are what the rules say, cluster by cluster."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_rows import catalogue_of, item

from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.interests import Interests
from services.profiles.naming import InterestNames, name_interests

CONFIG = ProfileConfig()
WORDS = ["Lips", "Näils", "Shoes", "Shoes · Acme", "Acme", "a", "b", "Lips, Shoes"]
COVERAGE = dict(zip(WORDS, [0.1, 0.5, 0.51, 0.2, 0.3, 1.0, 0.0, 0.25], strict=True))


def any_interests(seed: int, users: int) -> tuple[Interests, Catalogue]:
    """Interests of items whose ids, categories and brands share words."""
    random = np.random.default_rng(seed)
    ids = ["a", "b", "Acme", "Lips · Acme", "n1", "n2", "n3", "n4"]
    shop = catalogue_of(
        *(
            item(
                one,
                (1, 0),
                random.choice(WORDS, random.integers(0, 4), replace=False).tolist(),
                str(random.choice(WORDS)) if random.random() < 0.6 else None,
            )
            for one in ids
        ),
        coverage=COVERAGE,
    )
    sizes = random.integers(0, 6, users)
    user, clusters = np.repeat(np.arange(users), sizes), int(sizes.sum())
    cluster = np.repeat(np.arange(clusters), random.integers(1, 5, clusters))
    order = random.permutation(len(cluster))
    share = random.choice([0.25, 0.5, 1.0], len(cluster))
    weight = np.bincount(cluster, share, clusters)
    found = Interests(
        user=user,
        medoid=random.integers(0, len(ids), clusters),
        weight=np.ones(clusters),
        member_cluster=cluster[order],
        member_row=random.integers(0, len(ids), len(cluster)),
        member_share=(share / weight[cluster])[order],
    )
    return found, shop


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 8))
def test_names_follow_the_rules(seed: int, users: int) -> None:
    found, shop = any_interests(seed, users)
    made = name_interests(found, shop, CONFIG)
    assert readable(made, shop) == named_one_by_one(found, shop)


def test_names_may_be_long_and_of_any_script() -> None:
    long = "長" * 30_000
    shop = catalogue_of(item(long, (1, 0), [long + "c"], long + "b"), coverage={long + "c": 0.1})
    nothing, one = np.zeros(1, np.int64), np.ones(1)
    found = Interests(nothing, nothing, one, nothing, nothing, one)
    assert name_interests(found, shop, CONFIG).names.to_pylist() == [f"{long}c · {long}b"]


def readable(made: InterestNames, shop: Catalogue) -> list[tuple]:
    listed = made.categories.named(shop.category_names), made.brands.named(shop.brand_names)
    return list(zip(made.names.to_pylist(), *listed, strict=True))


def named_one_by_one(found: Interests, shop: Catalogue) -> list[tuple]:
    """(name, categories, brands) of each cluster, by the rules as `name_interests` tells them."""
    chosen, listed = [], []
    for cluster in range(len(found.user)):
        members = np.flatnonzero(found.member_cluster == cluster)
        categories: dict[str, float] = defaultdict(float)
        brands: dict[str, float] = defaultdict(float)
        for row, share in zip(found.member_row[members], found.member_share[members], strict=True):
            for name in categories_of(shop, row):
                categories[name] += share
            if shop.brand[row] >= 0:
                brands[brand_of(shop, row)] += share
        telling = heaviest({name: share * (1 - COVERAGE[name]) for name, share in categories.items()}, 0.2)[:3]
        deep = {
            name: 1.0 + level_of(shop, name) + share / 1e3
            for name, share in categories.items()
            if share >= 0.5 - 1e-9 and COVERAGE[name] <= 0.5
        }
        head = heaviest(deep, 0.0)[:1] or [", ".join(telling[:2])]
        chosen.append([part for part in (*head, *heaviest(brands, 0.6)[:1]) if part])
        listed.append((tuple(telling), tuple(heaviest(brands, 0.2)[:3])))
    names = [""] * len(chosen)
    for user in set(found.user.tolist()):
        clusters = np.flatnonzero(found.user == user).tolist()
        plain = [" · ".join(chosen[cluster]) for cluster in clusters]
        if "" not in plain and len(set(plain)) == len(plain):
            for cluster, name in zip(clusters, plain, strict=True):
                names[cluster] = name
            continue
        for cluster in clusters:
            parts, medoid = list(chosen[cluster]), int(found.medoid[cluster])
            depth = {name: 1.0 + level_of(shop, name) for name in categories_of(shop, medoid)}
            own = [*heaviest(depth, 0.0)[:1], brand_of(shop, medoid), shop.item_ids[medoid].as_py()]
            taken = [names[earlier] for earlier in clusters if earlier < cluster]
            for word in own:
                if parts and " · ".join(parts) not in taken:
                    break
                if word and word not in parts:
                    parts.append(word)
            names[cluster] = " · ".join(parts)
    return [(name, *both) for name, both in zip(names, listed, strict=True)]


def heaviest(values: dict[str, float], at_least: float) -> list[str]:
    return sorted((name for name in values if values[name] >= at_least), key=lambda name: (-values[name], name))


def categories_of(shop: Catalogue, row: int) -> list[str]:
    starts, codes = shop.category_codes
    return shop.category_names.take(pa.array(codes[starts[row] : starts[row + 1]])).to_pylist()


def level_of(shop: Catalogue, name: str) -> float:
    return float(shop.category_level[shop.category_names.to_pylist().index(name)])


def brand_of(shop: Catalogue, row: int) -> str | None:
    return shop.brand_names[shop.brand[row]].as_py() if shop.brand[row] >= 0 else None
