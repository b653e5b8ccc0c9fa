"""Video encoder: evenly spaced frames through the image encoder, averaged and normalised again."""

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from services.encoders.image import ImageEncoder
from services.encoders.pretrained import EncoderUnavailable

DEFAULT_FRAMES = 8
MAX_DECODED = 2_000
"""Frames decoded at most where a file tells no duration or cannot seek: a long video costs seconds, not minutes."""


CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"
"""Containers that hold their own pictures. Playlists (HLS, DASH, concat) stay out: they make the decoder open other
files and addresses, which nobody has checked."""


class VideoEncoder:
    """Encodes a video as the mean of its frames' image vectors."""

    def __init__(self, image_encoder: ImageEncoder, frames: int = DEFAULT_FRAMES) -> None:
        self.image_encoder = image_encoder
        self.frames = frames
        self.dimension = image_encoder.dimension
        self.version = f"{image_encoder.version}-{frames}frames"

    def encode(self, video: str | Path | bytes) -> np.ndarray | None:
        """float32 (dimension,) of length 1, or None when no frame can be decoded.

        Raises:
            EncoderUnavailable: PyAV is not installed.
        """
        images = sample_frames(video, self.frames, self.image_encoder.limits.max_pixels)
        if not images:
            return None
        vectors, ok = self.image_encoder.encode(images)
        if not ok.any():
            return None
        mean = vectors[ok].mean(0)
        length = float(np.linalg.norm(mean))
        return (mean / length).astype(np.float32) if length > 0 else None

    def encode_many(self, videos: list[str | Path | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 (n, dimension) and a mask (n,) of the videos that could be decoded; other rows are zero."""
        encoded = [self.encode(video) for video in videos]
        mask = np.array([vector is not None for vector in encoded], dtype=bool)
        vectors = np.zeros((len(videos), self.dimension), dtype=np.float32)
        if mask.any():
            vectors[mask] = np.stack([vector for vector in encoded if vector is not None])
        return vectors, mask


def sample_frames(video: str | Path | bytes, count: int, max_pixels: int = 50_000_000) -> list[Image.Image]:
    """Up to `count` RGB frames, at the middles of `count` equal parts of the video. Empty when it cannot be read."""
    av = _av()
    source = io.BytesIO(video) if isinstance(video, bytes | bytearray) else str(video)
    try:
        with av.open(source, options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS}) as container:
            if not container.streams.video:
                return []
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > max_pixels:
                return []
            stream.thread_type = "AUTO"
            frames = _spaced_by_seeking(container, stream, count) or _spaced_by_decoding(container, stream, count)
            return [frame.to_image() for frame in frames]
    except (av.FFmpegError, OSError, ValueError):
        return []


def _spaced_by_seeking(container: Any, stream: Any, count: int) -> list[Any]:
    """Seek to each wanted time and decode up to it; empty where the file tells no duration."""
    if not stream.duration or not stream.time_base:
        return []
    start = stream.start_time or 0
    found = []
    for wanted in (start + int(stream.duration * (part + 0.5) / count) for part in range(count)):
        container.seek(wanted, stream=stream, backward=True)
        best = None
        for frame in islice(container.decode(stream), MAX_DECODED // count):
            best = frame
            if frame.pts is not None and frame.pts >= wanted:
                break
        if best is not None:
            found.append(best)
    return found


def _spaced_by_decoding(container: Any, stream: Any, count: int) -> list[Any]:
    """Decode from the beginning; whenever twice too many frames are held, every second one goes: they stay spaced."""
    container.seek(0)
    kept: list[Any] = []
    step = 1
    for index, frame in enumerate(_decoded(container, stream)):
        if index % step == 0:
            kept.append(frame)
        if len(kept) >= 2 * count:
            kept, step = kept[::2], step * 2
    places = np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int)) if kept else []
    return [kept[place] for place in places]


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    yield from islice(container.decode(stream), MAX_DECODED)


def _av() -> Any:
    try:
        import av  # noqa: PLC0415 heavy, and only shops with videos need it
    except ImportError as error:
        raise EncoderUnavailable("Videos need PyAV: run `pip install av`") from error
    return av
