"""Portraits from the computed parts of a chunk: the one place where arrays become one object a user."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Interest, Portrait, PriceAffinity, RecentItem, pack_vector
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles
from services.profiles.config import ProfileConfig
from services.profiles.events import TYPES
from services.profiles.items import listed
from services.profiles.near import Neighbours
from services.profiles.ranked import at_most, row_starts, sliced, texts_at
from services.profiles.state import UserStates
from services.profiles.weights import decay


def assemble(
    states: UserStates,
    parts: ChunkProfiles,
    neighbours: Sequence[Neighbours],
    catalogue: Catalogue,
    as_of: float,
    config: ProfileConfig,
) -> list[Portrait]:
    """One portrait a user, in the order of `states.user_ids`."""
    taste = parts.taste
    columns: dict[str, Sequence[Any]] = {
        "user_id": states.user_ids.to_pylist(),
        "as_of": [as_of] * states.users,
        "newest_event": states.newest.tolist(),
        "event_count": states.totals["events"].tolist(),
        "confidence": parts.confidence.round(4).tolist(),
        "lifecycle": parts.lifecycle,
        "space": np.where(taste.has_vector, catalogue.space, "").tolist(),
        "long_term": _vectors(taste.long_term, taste.has_vector),
        "short_term": _vectors(taste.short_term, taste.has_vector),
        "interests": _interests(parts, catalogue, states.users),
        "categories": parts.affinities.categories.pairs(catalogue.category_names),
        "brands": parts.affinities.brands.pairs(catalogue.brand_names),
        "price": _prices(parts.affinities.price),
        "behaviour": [row.tobytes() for row in parts.behaviour.astype("<f4")],
        "recent_items": _recent(states, parts, as_of, config),
        "bought": _listed(states, "bought", config),
        "hidden": _listed(states, "hid", config),
        "neighbours": [near.users for near in neighbours],
        "neighbour_items": [near.items for near in neighbours],
    }
    return [Portrait(*row) for row in zip(*(columns[name] for name in Portrait.__struct_fields__), strict=True)]


def _vectors(matrix: NDArray[np.float32], known: NDArray[np.bool_]) -> list[bytes | None]:
    return [pack_vector(row) if has else None for row, has in zip(matrix, known.tolist(), strict=True)]


def _interests(parts: ChunkProfiles, catalogue: Catalogue, users: int) -> list[tuple[Interest, ...]]:
    found, names = parts.interests, parts.interest_names
    medoids = texts_at(catalogue.item_ids, found.medoid)
    weights = found.weight.round(4).tolist()
    rows = zip(medoids, weights, names.names, names.categories, names.brands, strict=True)
    return sliced([Interest(*row) for row in rows], row_starts(found.user, users))


def _prices(price: NDArray[np.float64]) -> list[PriceAffinity | None]:
    return [None if row[0] != row[0] else PriceAffinity(*row) for row in price.round(2).tolist()]


def _recent(
    states: UserStates, parts: ChunkProfiles, as_of: float, config: ProfileConfig
) -> list[tuple[RecentItem, ...]]:
    """The newest distinct items of each user, with weights as of `as_of`."""
    held = parts.taste.held
    order = np.lexsort((held.item, -held.time, held.user))
    order = order[at_most(held.user[order], config.recent_items)]
    user = held.user[order]
    weight = held.weight[order] * decay(as_of - parts.taste.reference[user], config.long_half_life)
    rows = zip(
        texts_at(states.item_ids, held.item[order]),
        [TYPES[code] for code in held.type[order].tolist()],
        held.time[order].tolist(),
        weight.round(6).tolist(),
        strict=True,
    )
    return sliced([RecentItem(*row) for row in rows], row_starts(user, states.users))


def _listed(states: UserStates, moment: str, config: ProfileConfig) -> list[tuple[str, ...]]:
    user, item = listed(states, moment)
    kept = at_most(user, config.listed_items)
    return sliced(texts_at(states.item_ids, item[kept]), row_starts(user[kept], states.users))
