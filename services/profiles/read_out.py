"""Portraits read out of users' states: the step that a full recompute and a live update share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core.memory import without_collections
from services.features.portrait import Portrait
from services.profiles.assemble import portraits
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles, compute_chunk
from services.profiles.config import ProfileConfig
from services.profiles.near import NOBODY, Neighbours, unpack_neighbours
from services.profiles.packing import packed
from services.profiles.portrait_columns import PortraitColumns, portrait_columns
from services.profiles.reference import ReferenceStatistics
from services.profiles.state import UserStates

PackedRow = tuple[str, datetime, bytes]
"""User id, as of when the portrait is, and its packed form."""


@dataclass(frozen=True)
class ReadOut:
    """Portraits in the order of the states as arrays, and their packed form."""

    columns: PortraitColumns
    packed: list[bytes]

    @property
    def behaviour(self) -> NDArray[np.float32]:
        """(U, F) the behaviour features."""
        return self.columns.behaviour

    def rows(self, as_of: datetime) -> list[PackedRow]:
        """What the online store is written from."""
        return [(user, as_of, data) for user, data in zip(self.columns.user_ids.to_pylist(), self.packed, strict=True)]

    @cached_property
    def portraits(self) -> list[Portrait]:
        """The portraits as objects, made when asked for."""
        with without_collections():
            return portraits(self.columns)


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
    columns = portrait_columns(states, parts, neighbours, catalogue, as_of, config)
    with without_collections():
        return ReadOut(columns, packed(columns))
