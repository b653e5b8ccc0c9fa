"""Readable names of interests, from the categories and brands of their items."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.interests import Interests
from services.profiles.ranked import SparseRows, rank_rows
from services.profiles.sums import by_brand

SEPARATOR = " · "
JOIN = ", "
TELLING = 0.5
"""A category that more than half of the shop's items carry never names an interest."""

LISTED = 3
LISTED_SHARE = 0.2
"""Categories and brands that hold at least this share of an interest are listed with it, three at most."""


@dataclass(frozen=True)
class InterestNames:
    """Per cluster its name, and its listed categories and brands, heaviest first, as rows of the catalogue's codes."""

    names: pa.Array
    categories: SparseRows
    brands: SparseRows


def name_interests(found: Interests, catalogue: Catalogue, config: ProfileConfig) -> InterestNames:
    """Name each cluster by the deepest category that holds half of its weight, and its brand where one dominates.

    Among equally deep categories the heavier is taken, then the first by name; one that most of the shop carries says
    nothing, and the two most telling categories stand in for it. A cluster without any category or brand is named by
    its medoid's item id. Of a user's clusters with the same name the lighter ones get their medoid's own deepest
    category, brand or id as well.
    """
    clusters = len(found.user)
    member, category = catalogue.categories_of(found.member_row)
    categories = SparseRows.summed(found.member_cluster[member], category, found.member_share[member], clusters)
    brands = by_brand(found.member_cluster, found.member_row, found.member_share, catalogue, clusters)
    specific = _specific(categories, catalogue)
    telling = specific.named(catalogue.category_names)
    deepest = _deepest(categories, catalogue, config.name_share).named(catalogue.category_names)
    heads = [one or (JOIN.join(some[:2]),) for one, some in zip(deepest, telling, strict=True)]
    dominant = rank_rows(brands, 1, config.brand_share).named(catalogue.brand_names)
    return InterestNames(
        names=pa.array(
            _distinct(found, [head + brand for head, brand in zip(heads, dominant, strict=True)], catalogue),
            pa.string(),
        ),
        categories=specific,
        brands=rank_rows(brands, LISTED, LISTED_SHARE),
    )


def _deepest(shares: SparseRows, catalogue: Catalogue, at_least: float) -> SparseRows:
    """The deepest category of each row with at least the share; the share breaks ties of depth."""
    enough = (shares.values >= at_least - 1e-9) & (catalogue.category_coverage[shares.columns] <= TELLING)
    depth = np.where(enough, 1.0 + catalogue.category_level[shares.columns] + shares.values / 1e3, 0.0)
    return rank_rows(replace(shares, values=depth), 1, 1.0)


def _specific(shares: SparseRows, catalogue: Catalogue) -> SparseRows:
    """The categories worth listing: heavy ones, less so the more of the shop they hold."""
    return rank_rows(shares.times(1.0 - catalogue.category_coverage), LISTED, LISTED_SHARE)


def _distinct(found: Interests, parts: list[tuple[str, ...]], catalogue: Catalogue) -> list[str]:
    """The parts joined; where one of a user's clusters already has the name, the medoid's own words are added one by
    one."""
    names = [SEPARATOR.join(filter(None, some)) for some in parts]
    users = found.user.tolist()
    taken: set[tuple[int, str]] = set()
    unclear: set[int] = set()
    for both in zip(users, names, strict=True):
        if not both[1] or both in taken:
            unclear.add(both[0])
        taken.add(both)
    again = np.flatnonzero(np.isin(found.user, list(unclear))).tolist()
    words = _own_words(found.medoid[again], catalogue)
    seen: set[tuple[int, str]] = set()
    for cluster, own in zip(again, words, strict=True):
        names[cluster] = _told_apart([part for part in parts[cluster] if part], own, users[cluster], seen)
    return names


def _told_apart(chosen: list[str], own: tuple[str, ...], user: int, seen: set[tuple[int, str]]) -> str:
    """The name of one cluster, with as many of its own words as tell it from those `seen`, which it joins."""
    extras = (word for word in own if word not in chosen)
    while not chosen or (user, SEPARATOR.join(chosen)) in seen:
        extra = next(extras, None)
        if extra is None:
            break
        chosen.append(extra)
    name = SEPARATOR.join(chosen)
    seen.add((user, name))
    return name


def _own_words(items: NDArray[np.int64], catalogue: Catalogue) -> list[tuple[str, ...]]:
    """What tells items from others, in the order it is added: deepest category, brand, item id."""
    cluster, category = catalogue.categories_of(items)
    depth = SparseRows.summed(cluster, category, 1.0 + catalogue.category_level[category], len(items))
    deepest = rank_rows(depth, 1, 1.0).named(catalogue.category_names)
    codes = catalogue.brand[items]
    brands = catalogue.brand_names.take(pa.array(codes, mask=codes < 0)).to_pylist()
    ids = catalogue.item_ids.take(pa.array(items)).to_pylist()
    return [
        tuple(word for word in (*category, brand, item) if word)
        for category, brand, item in zip(deepest, brands, ids, strict=True)
    ]
