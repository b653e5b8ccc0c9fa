"""An uploaded picture: the body itself, or one part of a form (RFC 7578). Its type is told from its first bytes."""

import re
from collections.abc import Iterator
from email.message import Message

from starlette.requests import Request

from services.core.errors import InvalidInput, MalformedBody, UnsupportedMedia
from services.encoders.media_types import MediaKind, content_type_fits, looks_like
from services.serve.bodies import MIB, read_body

PICTURE_LIMIT = 8 * MIB
FORM = "multipart/form-data"
MOST_PARTS = 20
MOST_HEADERS = 4_096
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


async def read_picture(request: Request) -> bytes:
    """The bytes of a picture, of a format that is known and no larger than 8 MiB; nothing of it is decoded here.

    Raises:
        BodyTooLarge, MalformedBody: as `read_body`; or the form is not one.
        UnsupportedMedia: the content type or the first bytes are not those of a picture.
        InvalidInput: the body is empty, or the form has no picture.
    """
    kind = Message()
    kind["content-type"] = request.headers.get("content-type", "application/octet-stream")
    form = kind.get_content_type() == FORM
    if not form and not content_type_fits(kind.get_content_type(), MediaKind.IMAGE):
        raise UnsupportedMedia(f"{kind.get_content_type()} is no picture: send image/*, or a form with a picture")
    body = await read_body(request, PICTURE_LIMIT)
    picture = _picture_of_form(body, _parameter(kind, "boundary", "content-type")) if form else body
    if not picture:
        raise InvalidInput("The picture is empty: send its bytes", field="image")
    if not looks_like(picture, MediaKind.IMAGE):
        raise UnsupportedMedia("The bytes are no picture: send JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF")
    return picture


def _picture_of_form(body: bytes, boundary: str) -> bytes:
    for headers, content in _parts(body, boundary):
        name, file = (_parameter(headers, parameter, "content-disposition") for parameter in ("name", "filename"))
        if name in ("image", "file", "photo") or file:
            return content
    raise InvalidInput("The form has no picture: send it in the field `image`", field="image")


def _parts(body: bytes, boundary: str) -> Iterator[tuple[Message, bytes]]:
    """Headers and content of each part (RFC 2046, section 5.1.1)."""
    if not BOUNDARY.fullmatch(boundary) or boundary.endswith(" "):
        raise MalformedBody("The form names no boundary: send `multipart/form-data; boundary=…`")
    mark = b"\r\n--" + boundary.encode()
    sections = (b"\r\n" + body).split(mark, MOST_PARTS + 1)
    if len(sections) < 3 or not any(section.startswith(b"--") for section in sections[1:]):
        raise MalformedBody(f"The form is cut short, or has more than {MOST_PARTS} parts: send it again")
    for section in sections[1:]:
        if section.startswith(b"--"):
            return
        head, found, content = section.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not found or len(head) > MOST_HEADERS:
            raise MalformedBody("A part of the form has no headers, or too many")
        yield _headers(head), content


def _headers(head: bytes) -> Message:
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            message["content-disposition"] = value.strip()
    return message


def _parameter(message: Message, name: str, header: str) -> str:
    """A parameter of a header; empty where there is none. Raises MalformedBody where its parts (RFC 2231) contradict
    each other, which the standard library does not expect."""
    try:
        found = message.get_param(name, "", header)
    except (TypeError, ValueError) as error:
        raise MalformedBody(f"`{name}` in {header} cannot be read: send it as one plain text") from error
    return found if isinstance(found, str) else found[2]
