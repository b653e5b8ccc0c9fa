"""Mia, the shopper of docs/profiles.md: four events, and the portrait they make."""

import numpy as np
from profile_rows import AS_OF, DAY, HOUR, catalogue_of, event, item, states
from scipy import sparse

from services.features.portrait import Portrait
from services.profiles.assemble import assemble
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles, compute_chunk
from services.profiles.config import ProfileConfig
from services.profiles.neighbours import find_neighbours
from services.profiles.pool import empty_pool
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates

CONFIG = ProfileConfig()


def shop() -> Catalogue:
    return catalogue_of(
        item("lipstick", (1, 0, 0), ["Beauty", "Makeup", "Lipstick"], "Rouge", 12.0),
        item("mascara", (0.8, 0.6, 0), ["Beauty", "Makeup", "Mascara"], "Rouge", 15.0),
        item("serum", (0, 0, 1), ["Beauty", "Skin Care", "Serums"], "Dew", 30.0),
        coverage={"Beauty": 1.0, "Makeup": 0.2, "Lipstick": 0.05, "Mascara": 0.05, "Skin Care": 0.3, "Serums": 0.1},
    )


MIAS = (
    event("mia", "lipstick", "purchase", 60 * DAY),
    event("mia", "mascara", "view", DAY, dwell_ms=40_000, depth=0.5),
    event("mia", "mascara", "click", 12 * HOUR, position=3),
    event("mia", "serum", "rating", 0.0, rating=5),
)


def mias_events(catalogue: Catalogue) -> UserStates:
    return states(catalogue, *MIAS)


def parts(events: UserStates, catalogue: Catalogue, as_of: float = AS_OF) -> ChunkProfiles:
    return compute_chunk(events, catalogue, ReferenceStatistics.defaults(), as_of, CONFIG)


def portrait(events: UserStates, catalogue: Catalogue, as_of: float = AS_OF) -> Portrait:
    found = parts(events, catalogue, as_of)
    likes = sparse.csr_array((0, catalogue.count), dtype=np.float32)
    near = find_neighbours(
        events, found.taste, catalogue.space, empty_pool(), lambda _: (likes, catalogue.item_ids), CONFIG
    )
    return assemble(events, found, near, catalogue, as_of, CONFIG)[0]
