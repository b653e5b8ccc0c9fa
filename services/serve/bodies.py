"""Request bodies: read up to a limit, decoded strictly; every refusal names the field and the cure."""

import asyncio
import re
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from services.core.errors import BodyTooLarge, InvalidInput, MalformedBody
from services.ingest.wire_errors import explain

MIB = 1 << 20
EVENTS_LIMIT = MIB
ITEMS_LIMIT = 8 * MIB
REQUEST_LIMIT = MIB

BODY_WITHIN_S = 10.0
"""A slow caller must not keep a place that others wait for."""

MAX_ID = 128
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

T = TypeVar("T")


async def read_body(request: Request, limit: int = REQUEST_LIMIT) -> bytes:
    """The body. Refused before it is read where its length is announced, else as soon as it grows past `limit` bytes.

    Raises:
        BodyTooLarge: more than `limit` bytes.
        MalformedBody: the caller hung up before its end, or takes too long.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except ClientDisconnect as error:
        raise MalformedBody("The connection closed before the whole body had arrived: send it again") from error
    except TimeoutError as error:
        raise MalformedBody(f"The body did not arrive within {BODY_WITHIN_S:.0f} s: send it again, faster") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as the decoder's type.

    Raises:
        MalformedBody: not JSON (NaN and Infinity are not JSON either).
        InvalidInput: JSON of another shape; the detail names the field.
    """
    try:
        return decoder.decode(body)
    except (msgspec.ValidationError, UnicodeError) as error:
        code, message = explain(error)
        raise InvalidInput(f"{message} (GET /openapi.json lists the fields)", reason=code) from error
    except msgspec.DecodeError as error:
        raise MalformedBody(
            f"The body is not valid JSON ({error}): send UTF-8 JSON, without NaN or Infinity"
        ) from error
    except RecursionError as error:
        raise MalformedBody("The body is nested too deeply: see /openapi.json for its shape") from error


def check_id(value: str, name: str) -> str:
    """An id of the shop's.

    Raises:
        InvalidInput: empty, too long or with control characters.
    """
    if not 0 < len(value) <= MAX_ID:
        raise InvalidInput(f"`{name}` has {len(value)} characters: send 1 to {MAX_ID}", field=name)
    return check_text(value, name)


def check_text(value: str, name: str) -> str:
    """A text that may be stored. Raises InvalidInput for control characters and lone surrogates."""
    if _UNPRINTABLE.search(value):
        raise InvalidInput(f"`{name}` contains control characters: remove them", field=name)
    return value


def path_id(request: Request, name: str) -> str:
    """The id in the path, as the shop spells it."""
    return check_id(request.path_params[name], name)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit // MIB} MiB: send it in several requests", limit_bytes=limit)


def query_count(request: Request, default: int, maximum: int) -> int:
    """The `count` of the query string. Raises InvalidInput for anything but one of 1 to `maximum`."""
    text = request.query_params.get("count")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= maximum):
        raise InvalidInput(f"`count` must be an integer from 1 to {maximum}", field="count")
    return int(text)
