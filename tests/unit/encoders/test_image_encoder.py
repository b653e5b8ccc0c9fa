"""Image vectors: whole pictures only, independent of batches, for the packaged network and for CLIP."""

import io
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from services.core.errors import PortraitError
from services.encoders.efficientnet_lite import EfficientNetLite0, fold_batch_norms
from services.encoders.image import ImageEncoder, load_image_encoder
from services.encoders.pictures import PictureLimits, UndecodablePicture, decode_picture


def picture(colour: tuple[int, int, int] = (200, 30, 40), side: int = 64, kind: str = "PNG") -> bytes:
    """An encoded picture with some texture."""
    random = np.random.default_rng(sum(colour))
    pixels = np.clip(random.normal(0, 20, (side, side, 3)) + np.array(colour), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


RED, BLUE, GREY = picture((220, 20, 30)), picture((10, 20, 230)), picture((128, 128, 128), kind="JPEG")


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return load_image_encoder()


def bomb(width: int, height: int) -> bytes:
    """A PNG header that promises width × height pixels and holds next to none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def test_good_pictures_get_vectors_and_bad_ones_a_false_in_the_mask(encoder: ImageEncoder) -> None:
    vectors, ok = encoder.encode([RED, b"not a picture", GREY[: len(GREY) // 2], BLUE, bomb(60_000, 60_000), b""])
    assert ok.tolist() == [True, False, False, True, False, False]
    assert vectors.shape == (6, 1280)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), ok.astype(float), atol=1e-4)


def test_a_vector_does_not_depend_on_its_batch(encoder: ImageEncoder) -> None:
    many, _ = encoder.encode([RED, BLUE, GREY] * 4)
    alone = np.concatenate([encoder.encode([image])[0] for image in (RED, BLUE, GREY)])
    np.testing.assert_allclose((many[:3] * alone).sum(1), 1, atol=1e-3)
    assert many[0] @ many[1] < 0.95


def test_autocast_agrees_with_float32(encoder: ImageEncoder) -> None:
    fast, _ = encoder.encode([RED, BLUE, GREY])
    policy = encoder.policy
    encoder.policy = replace(policy, dtype=None)
    try:
        exact, _ = encoder.encode([Image.open(io.BytesIO(data)) for data in (RED, BLUE, GREY)])
    finally:
        encoder.policy = policy
    np.testing.assert_allclose((fast * exact).sum(1), 1, atol=2e-2)


def test_no_pictures_give_no_rows(encoder: ImageEncoder) -> None:
    vectors, ok = encoder.encode([])
    assert (vectors.shape, ok.shape) == ((0, 1280), (0,))


def test_folding_the_batch_norms_changes_nothing() -> None:
    torch.manual_seed(0)
    network = EfficientNetLite0().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(images)
        torch.testing.assert_close(fold_batch_norms(network)(images), before, atol=1e-4, rtol=1e-4)


def test_clip_by_folder_gives_projected_features(tiny_clip: Path) -> None:
    encoder = load_image_encoder(str(tiny_clip), "cpu")
    vectors, ok = encoder.encode([RED, BLUE, b"no"])
    assert vectors.shape == (3, 16)
    assert ok.tolist() == [True, True, False]
    assert load_image_encoder(str(tiny_clip), "cpu").version == encoder.version


def test_a_text_model_is_refused_as_image_encoder(tiny_bert: Path) -> None:
    with pytest.raises(PortraitError, match="not an image model"):
        load_image_encoder(str(tiny_bert), "cpu")


def test_transparency_becomes_white_and_orientation_upright() -> None:
    clear = io.BytesIO()
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(clear, "PNG")
    assert decode_picture(clear.getvalue()).getpixel((3, 3)) == (255, 255, 255)
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Image.new("RGB", (20, 10)).save(turned, "JPEG", exif=exif)
    assert decode_picture(turned.getvalue()).size == (10, 20)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I;16", "LA"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (16, 16)).save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert decode_picture(file.getvalue()).mode == "RGB"


def test_pictures_outside_the_limits_are_refused_before_decoding() -> None:
    with pytest.raises(UndecodablePicture, match="more than"):
        decode_picture(RED, PictureLimits(max_pixels=100))
    with pytest.raises(UndecodablePicture, match="less than"):
        decode_picture(picture(side=4))


def test_clothes_of_a_class_are_nearer_to_each_other(encoder: ImageEncoder) -> None:
    root = Path(os.environ.get("PORTRAIT_TEST_DATA", "../shared/data")) / "product-photos" / "test"
    if not root.is_dir():
        pytest.skip("product photos are absent: set PORTRAIT_TEST_DATA")
    files = [path for name in ("shoes", "t-shirt", "hat") for path in sorted((root / name).glob("*.jpg"))[:8]]
    labels = np.array([path.parent.name for path in files])
    vectors, ok = encoder.encode([path.read_bytes() for path in files])
    assert ok.all()
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -1)
    same = labels[:, None] == labels
    nearest = labels[cosine.argmax(1)] == labels
    assert nearest.mean() > 0.75
    assert cosine[same & (cosine > -1)].mean() > cosine[~same].mean() + 0.1
