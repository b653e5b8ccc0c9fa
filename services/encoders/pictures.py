"""Decoding pictures from untrusted bytes: known formats, bounded pixels, no half pictures."""

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO")
DRAFT_SIDE = 512
"""JPEGs are decoded at the smallest scale that still has this side: several times faster for camera pictures."""


@dataclass(frozen=True)
class PictureLimits:
    """`max_pixels` guards against decompression bombs: it is checked before any pixel is decoded."""

    max_pixels: int = 50_000_000
    min_side: int = 8


class UndecodablePicture(ValueError):
    """Not a picture, damaged, or outside the limits. Callers count these; they are not failures of the service."""


def decode_picture(data: bytes | Image.Image, limits: PictureLimits | None = None) -> Image.Image:
    """An upright RGB picture, transparency on white; the first frame of an animation.

    Raises:
        UndecodablePicture: for anything that is not a whole picture within the limits.
    """
    limits = limits or PictureLimits()
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS) if isinstance(data, bytes | bytearray) else data
        width, height = image.size
        if width * height > limits.max_pixels:
            raise UndecodablePicture(f"{width}×{height} pixels are more than {limits.max_pixels:,}")
        if min(width, height) < limits.min_side:
            raise UndecodablePicture(f"{width}×{height} pixels are less than {limits.min_side} on a side")
        if image.format == "JPEG":
            image.draft("RGB", (DRAFT_SIDE, DRAFT_SIDE))
        image = ImageOps.exif_transpose(image)
        return _to_rgb(image)
    except UndecodablePicture:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError, TypeError, KeyError, struct.error) as error:
        raise UndecodablePicture(f"{type(error).__name__}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodablePicture(str(error)) from error


def crop_to_square(image: Image.Image, side: int, keep: float) -> np.ndarray:
    """uint8 (side, side, 3): the central square of `keep` of the shorter side, resized bicubically."""
    width, height = image.size
    edge = max(1.0, min(width, height) * keep)
    left, top = (width - edge) / 2, (height - edge) / 2
    square = image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + edge, top + edge))
    return np.asarray(square)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float32)
        top = max(float(values.max()), 1.0)
        image = Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")
