"""What counts as a picture or a video by its first bytes, and the reasons why media could not be had."""

from enum import StrEnum


class MediaKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"


class MediaReason(StrEnum):
    """Stable codes that callers count; an item is left without the modality, never rejected."""

    BAD_URL = "bad-url"
    UNSUPPORTED_SCHEME = "unsupported-scheme"
    PRIVATE_ADDRESS = "private-address"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    HTTP_ERROR = "http-error"
    TOO_MANY_REDIRECTS = "too-many-redirects"
    TOO_LARGE = "too-large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not-an-image"
    NOT_A_VIDEO = "not-a-video"
    OUTSIDE_MEDIA_ROOT = "outside-media-root"
    NOT_FOUND = "not-found"
    UNDECODABLE = "undecodable"
    """The bytes look right, but the encoder cannot decode them (set by the caller of the encoder)."""


WRONG_KIND = {MediaKind.IMAGE: MediaReason.NOT_AN_IMAGE, MediaKind.VIDEO: MediaReason.NOT_A_VIDEO}

UNTYPED = ("", "application/octet-stream", "binary/octet-stream", "application/binary")
"""Content types that say nothing: the first bytes decide."""

IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")
VIDEO_STARTS = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"0&\xb2u", b"GIF8")
IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


def content_type_fits(content_type: str, kind: MediaKind) -> bool:
    """Whether a Content-Type header allows the kind."""
    bare = content_type.split(";", 1)[0].strip().lower()
    return bare in UNTYPED or bare.startswith(f"{kind}/") or (kind is MediaKind.VIDEO and bare == "image/gif")


def looks_like(data: bytes, kind: MediaKind) -> bool:
    """Whether the first bytes are those of a picture or video format."""
    boxed = data[4:8] == b"ftyp"
    if kind is MediaKind.IMAGE:
        return (
            data.startswith(IMAGE_STARTS)
            or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
            or (boxed and data[8:12] in IMAGE_BRANDS)
        )
    return (
        data.startswith(VIDEO_STARTS)
        or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")
        or (boxed and data[8:12] not in IMAGE_BRANDS)
        or data[4:8] in (b"moov", b"mdat", b"wide")
        or (data[:1] == b"G" and data[188:189] == b"G")
    )
