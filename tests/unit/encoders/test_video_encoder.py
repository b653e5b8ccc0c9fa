"""Videos: evenly spaced frames, files or bytes, and no exception for what is no video."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from services.encoders.image import ImageEncoder, load_image_encoder
from services.encoders.video import VideoEncoder, sample_frames


def video(frames: int = 24, container: str = "mp4", codec: str = "mpeg4") -> bytes:
    """Frame i is a grey of brightness 10 · i."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=Fraction(12))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            pixels = np.full((48, 64, 3), min(250, 10 * i), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="module")
def image_encoder(tiny_clip: Path) -> ImageEncoder:
    return load_image_encoder(str(tiny_clip), "cpu")


def brightness(data: bytes | Path, count: int) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / 10) for frame in sample_frames(data, count)]


def test_frames_are_evenly_spaced() -> None:
    assert brightness(video(24), 4) == [3, 9, 15, 21]


def test_a_container_without_duration_is_spaced_by_decoding() -> None:
    found = brightness(video(24, "mpegts", "mpeg2video"), 4)
    assert len(found) == 4
    assert found == sorted(found)
    assert found[-1] - found[0] >= 12


def test_a_short_video_gives_the_frames_it_has() -> None:
    assert 1 <= len(sample_frames(video(1), 8)) <= 8


def test_file_and_bytes_give_the_same_vector(image_encoder: ImageEncoder, tmp_path: Path) -> None:
    encoder = VideoEncoder(image_encoder, frames=4)
    path = tmp_path / "clip.mp4"
    path.write_bytes(video())
    vector = encoder.encode(path)
    assert vector.shape == (16,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(vector, encoder.encode(path.read_bytes()))


@pytest.mark.parametrize("data", [b"", b"no video at all", video()[:200]])
def test_what_cannot_be_decoded_has_no_vector(image_encoder: ImageEncoder, data: bytes) -> None:
    assert VideoEncoder(image_encoder).encode(data) is None


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    target = tmp_path / "secret.mp4"
    target.write_bytes(video())
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n".encode()
    concat = f"ffconcat version 1.0\nfile '{target}'\n".encode()
    for name, text in (("a.m3u8", playlist), ("a.ffconcat", concat)):
        (tmp_path / name).write_bytes(text)
        assert sample_frames(text, 2) == []
        assert sample_frames(tmp_path / name, 2) == []


def test_many_videos_keep_their_places(image_encoder: ImageEncoder) -> None:
    vectors, ok = VideoEncoder(image_encoder, frames=2).encode_many([b"x", video()])
    assert ok.tolist() == [False, True]
    assert not vectors[0].any()
