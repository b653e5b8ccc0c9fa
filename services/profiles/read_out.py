"""Portraits read out of users' states: the step that a full recompute and a live update share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core.memory import without_collections
from services.features.portrait import Portrait, pack_all
from services.profiles.assemble import assemble
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles, compute_chunk
from services.profiles.config import ProfileConfig
from services.profiles.near import NOBODY, Neighbours, unpack_neighbours
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates


@dataclass(frozen=True)
class ReadOut:
    """Portraits in the order of the states, their packed form, and the behaviour features (U, F)."""

    portraits: list[Portrait]
    packed: list[bytes]
    behaviour: NDArray[np.float32]


def read_out(
    states: UserStates,
    neighbours: pa.Array | pa.ChunkedArray | None,
    catalogue: Catalogue,
    reference: ReferenceStatistics,
    as_of: float,
    config: ProfileConfig,
) -> ReadOut:
    """The portraits of some states as of a time (epoch s).

    `neighbours` holds per user what `pack_neighbours` made when they were last looked for, or null: they depend on
    everybody's portraits, so an update of one user leaves them as they are.
    """
    found = [NOBODY] * states.users if neighbours is None else unpack_neighbours(neighbours)
    return portraits_of(
        states, compute_chunk(states, catalogue, reference, as_of, config), found, catalogue, as_of, config
    )


def portraits_of(
    states: UserStates,
    parts: ChunkProfiles,
    neighbours: Sequence[Neighbours],
    catalogue: Catalogue,
    as_of: float,
    config: ProfileConfig,
) -> ReadOut:
    """The portraits from their computed parts."""
    with without_collections():
        portraits = assemble(states, parts, neighbours, catalogue, as_of, config)
        return ReadOut(portraits, pack_all(portraits), parts.behaviour)
