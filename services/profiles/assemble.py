"""Portraits as objects: the one place where arrays become one object a user."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Interest, Portrait, PriceAffinity, RecentItem, pack_vector
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles
from services.profiles.config import ProfileConfig
from services.profiles.events import TYPES
from services.profiles.near import Neighbours
from services.profiles.portrait_columns import Listed, PortraitColumns, portrait_columns
from services.profiles.ranked import sliced, texts_at
from services.profiles.state import UserStates


def assemble(
    states: UserStates,
    parts: ChunkProfiles,
    neighbours: Sequence[Neighbours],
    catalogue: Catalogue,
    as_of: float,
    config: ProfileConfig,
) -> list[Portrait]:
    """One portrait a user, in the order of `states.user_ids`."""
    return portraits(portrait_columns(states, parts, neighbours, catalogue, as_of, config))


def portraits(found: PortraitColumns) -> list[Portrait]:
    """One portrait a user, in order."""
    columns: dict[str, Sequence[Any]] = {
        "user_id": found.user_ids.to_pylist(),
        "as_of": [found.as_of] * found.users,
        "newest_event": found.newest.tolist(),
        "event_count": found.event_count.tolist(),
        "confidence": found.confidence.tolist(),
        "lifecycle": found.lifecycle,
        "space": np.where(found.has_vector, found.catalogue.space, "").tolist(),
        "long_term": _vectors(found.long_term, found.has_vector),
        "short_term": _vectors(found.short_term, found.has_vector),
        "interests": interests(found),
        "categories": categories(found),
        "brands": brands(found),
        "price": [None if row[0] != row[0] else PriceAffinity(*row) for row in found.price.tolist()],
        "behaviour": [row.tobytes() for row in found.behaviour.astype("<f4", copy=False)],
        "recent_items": recent_items(found),
        "bought": _listed(found, found.bought),
        "hidden": _listed(found, found.hidden),
        "neighbours": found.near_users,
        "neighbour_items": found.near_items,
    }
    return [Portrait(*row) for row in zip(*(columns[name] for name in Portrait.__struct_fields__), strict=True)]


def _vectors(matrix: NDArray[np.float32], known: NDArray[np.bool_]) -> list[bytes | None]:
    return [pack_vector(row) if has else None for row, has in zip(matrix, known.tolist(), strict=True)]


def interests(found: PortraitColumns) -> list[tuple[Interest, ...]]:
    """The interests of each user, heaviest first."""
    some, catalogue = found.interests, found.catalogue
    rows = zip(
        texts_at(catalogue.item_ids, some.medoid),
        some.weight.tolist(),
        some.names.names.to_pylist(),
        some.names.categories.named(catalogue.category_names),
        some.names.brands.named(catalogue.brand_names),
        strict=True,
    )
    return sliced([Interest(*row) for row in rows], some.starts)


def recent_items(found: PortraitColumns) -> list[tuple[RecentItem, ...]]:
    """The recent items of each user, newest first."""
    recent = found.recent
    rows = zip(
        texts_at(found.item_ids, recent.item),
        [TYPES[code] for code in recent.type.tolist()],
        recent.time.tolist(),
        recent.weight.tolist(),
        strict=True,
    )
    return sliced([RecentItem(*row) for row in rows], recent.starts)


def categories(found: PortraitColumns) -> list[tuple[tuple[str, float], ...]]:
    """The (category, weight) pairs of each user, heaviest first."""
    return found.categories.pairs(found.catalogue.category_names)


def brands(found: PortraitColumns) -> list[tuple[tuple[str, float], ...]]:
    """The (brand, weight) pairs of each user, heaviest first."""
    return found.brands.pairs(found.catalogue.brand_names)


def _listed(found: PortraitColumns, items: Listed) -> list[tuple[str, ...]]:
    return sliced(texts_at(found.item_ids, items.item), items.starts)
