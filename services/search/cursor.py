"""Cursors: where a list of results was left off.

A cursor carries what was shown as short digests of item ids. The next page leaves those out, so pages never overlap,
even when the portrait, the ranker or the snapshot has moved on between them, and no server keeps anything.
"""

import base64
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.core.errors import InvalidInput
from services.features.item_ids import digests
from services.search.request import SearchRequest

MOST_SHOWN = 1_000
"""Results that can be paged through with a cursor."""


class BadCursor(InvalidInput):
    """Not a cursor of this query."""

    code = "bad-cursor"


class _Wire(msgspec.Struct, array_like=True):
    query: bytes
    shown: bytes


@dataclass(frozen=True)
class Cursor:
    """`shown` uint32: the digests of the items on all earlier pages."""

    shown: NDArray[np.uint32]


def short_digests(item_ids: Sequence[str]) -> NDArray[np.uint32]:
    """Half of the 64-bit digests: of 1,000 shown items one of 1,000 others shares one with a probability of 0.02%."""
    return digests(item_ids).astype(np.uint32)


def encode(request: SearchRequest, shown: NDArray[np.uint32]) -> str:
    """The cursor after these items."""
    wire = msgspec.msgpack.encode(_Wire(_fingerprint(request), shown.astype("<u4").tobytes()))
    return base64.urlsafe_b64encode(wire + zlib.crc32(wire).to_bytes(4, "little")).decode().rstrip("=")


def decode(request: SearchRequest) -> Cursor:
    """The request's cursor.

    Raises:
        BadCursor: it is damaged, or of another query, filter, sort or user.
    """
    assert request.cursor is not None  # the caller looked
    try:
        data = base64.urlsafe_b64decode(request.cursor.encode("ascii") + b"=" * (-len(request.cursor) % 4))
        if zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
            raise ValueError
        wire = msgspec.msgpack.decode(data[:-4], type=_Wire)
        shown = np.frombuffer(wire.shown, "<u4")
    except (ValueError, msgspec.DecodeError) as error:
        raise BadCursor("This is no cursor: send `next_cursor` of the page before, as it was") from error
    if wire.query != _fingerprint(request):
        raise BadCursor("The cursor is of another query: keep query, filter, sort and user the same from page to page")
    return Cursor(shown)


def _fingerprint(request: SearchRequest) -> bytes:
    """What must stay the same from page to page."""
    parts = (request.query, request.user_id, request.filter, request.sort, request.operators, request.correct)
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=8).digest()
