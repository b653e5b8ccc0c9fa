"""What a portrait keeps of its user's neighbours, and its stored form."""

from collections.abc import Sequence

import msgspec
import pyarrow as pa


class Neighbours(msgspec.Struct, array_like=True, frozen=True):
    """Similar users as (user id, cosine), and what these like as (item id, score 0–1)."""

    users: tuple[tuple[str, float], ...] = ()
    items: tuple[tuple[str, float], ...] = ()


NOBODY = Neighbours()

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Neighbours)


def pack_neighbours(neighbours: Sequence[Neighbours]) -> pa.Array:
    """The column `neighbours` of the table `user_states`."""
    return pa.array([_encoder.encode(one) for one in neighbours], pa.binary())


def unpack_neighbours(column: pa.Array | pa.ChunkedArray) -> list[Neighbours]:
    """The neighbours of a column of `pack_neighbours`; nobody for null."""
    return [NOBODY if data is None else _decoder.decode(data) for data in column.to_pylist()]
