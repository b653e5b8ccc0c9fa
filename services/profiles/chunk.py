"""Everything of the portraits of some users, computed together from their states; `assemble` makes portraits of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.profiles.affinities import Affinities, affinities
from services.profiles.behaviour import behaviour
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.interests import Interests, interests
from services.profiles.items import HeldItems, held_items
from services.profiles.lifecycle import confidence, lifecycles
from services.profiles.naming import InterestNames, name_interests
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates
from services.profiles.sums import ProfileSums, profile_sums
from services.profiles.vectors import taste_vectors
from services.profiles.weights import mean_ratings


@dataclass(frozen=True)
class Taste:
    """What the neighbour search needs of U users, and what the rest is computed from.

    `reference` (U,) is the time of each user's newest event that says anything, −inf without one.
    """

    sums: ProfileSums
    held: HeldItems
    long_term: NDArray[np.float32]
    short_term: NDArray[np.float32]
    has_vector: NDArray[np.bool_]

    @property
    def reference(self) -> NDArray[np.float64]:
        return self.sums.reference


@dataclass(frozen=True)
class ChunkProfiles:
    """The parts of the portraits of U users, each as its own module defines it."""

    taste: Taste
    interests: Interests
    interest_names: InterestNames
    affinities: Affinities
    behaviour: NDArray[np.float32]
    confidence: NDArray[np.float64]
    lifecycle: list[str]


def compute_taste(states: UserStates, catalogue: Catalogue, config: ProfileConfig) -> Taste:
    """Decayed sums, held items and vectors."""
    mean_rating = mean_ratings(*states.mean_rating_sums(), config)
    held = held_items(states, catalogue, mean_rating, config)
    sums = profile_sums(states, held, mean_rating, catalogue, config)
    return Taste(sums, held, *taste_vectors(sums))


def compute_chunk(
    states: UserStates, catalogue: Catalogue, reference: ReferenceStatistics, as_of: float, config: ProfileConfig
) -> ChunkProfiles:
    """Everything but the neighbours. `as_of` in epoch seconds."""
    taste = compute_taste(states, catalogue, config)
    found = interests(taste.held, catalogue, config)
    return ChunkProfiles(
        taste=taste,
        interests=found,
        interest_names=name_interests(found, catalogue, config),
        affinities=affinities(taste.sums, catalogue, reference, config),
        behaviour=behaviour(states, as_of),
        confidence=confidence(taste.sums.evidence, config),
        lifecycle=lifecycles(states, as_of, config),
    )
