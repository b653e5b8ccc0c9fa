"""Pictures as a body or as a part of a form: what is one is taken, everything else is refused clearly."""

import anyio
import pytest
from starlette.requests import Request

from services.core.errors import BodyTooLarge, InvalidInput, MalformedBody, PortraitError, UnsupportedMedia
from services.serve.uploads import PICTURE_LIMIT, read_picture

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\r\n--not-the-boundary\r\n"
FORM = "multipart/form-data; boundary=XX"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return b"--XX\r\n" + head.encode() + b"\r\nContent-Type: image/png\r\n\r\n" + content + b"\r\n"


def read(body: bytes, content_type: str | None) -> bytes:
    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [] if content_type is None else [(b"content-type", content_type.encode())]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    return anyio.run(read_picture, request)


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", None, "image/jpeg; q=1"])
def test_a_body_is_taken_as_it_is(content_type: str | None):
    assert read(PNG, content_type) == PNG


@pytest.mark.parametrize("name", [("image", None), ("file", "a.png"), ("anything", "a.png")])
def test_the_picture_of_a_form_is_found_among_its_parts(name: tuple[str, str | None]):
    body = b"preamble\r\n" + part("count", b"3") + part(name[0], PNG, name[1]) + b"--XX--\r\nepilogue"
    assert read(body, FORM) == PNG


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"", "image/png", InvalidInput),
        (b"GIF", "image/gif", UnsupportedMedia),
        (b"%PDF-1.7", "application/octet-stream", UnsupportedMedia),
        (PNG, "text/plain", UnsupportedMedia),
        (PNG, "video/mp4", UnsupportedMedia),
        (b"x" * (PICTURE_LIMIT + 1), "image/png", BodyTooLarge),
        (PNG, "multipart/form-data", MalformedBody),
        (PNG, "multipart/form-data; boundary=\x01", MalformedBody),
        (PNG, "multipart/form-data; boundary*=XX; boundary*0=XX", MalformedBody),
        (PNG, f"multipart/form-data; boundary*{'9' * 5000}=XX", MalformedBody),
        (part("image", PNG, 'a"; filename*=a; filename*0="b') + b"--XX--", FORM, MalformedBody),
        (PNG, FORM, MalformedBody),
        (part("image", PNG), FORM, MalformedBody),
        (b"--XX\r\nno headers\r\n--XX--", FORM, MalformedBody),
        (part("count", b"3") + b"--XX--", FORM, InvalidInput),
        (part("image", b"") + b"--XX--", FORM, InvalidInput),
        (part("a", b"1") * 30 + b"--XX--", FORM, MalformedBody),
    ],
)
def test_what_is_no_picture_is_refused(body: bytes, content_type: str, error: type[PortraitError]):
    with pytest.raises(error):
        read(body, content_type)
