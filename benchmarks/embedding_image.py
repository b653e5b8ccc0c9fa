"""Claim: Portrait's image encoder is twice as fast as the same network run the plain way, from the same pictures.

    python benchmarks/embedding_image.py [--json OUT]

The plain way: decode with Pillow, batches of 32, float32, batch normalisation not folded. The figure is the ratio of
pictures a second as the median over interleaved repeats. Pictures are drawn, or real clothing photos where
PORTRAIT_TEST_DATA is set; then the share of photos whose nearest neighbour is of their class is reported too.
"""

import argparse
import io
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from services.encoders.efficientnet_lite import EfficientNetLite0
from services.encoders.image import ImageEncoder, load_image_encoder
from services.encoders.pretrained import packaged_path

BAR = 2.0
PICTURES = 96
REPEATS = 5
PLAIN_BATCH = 32


def drawn_pictures(count: int, side: int = 600) -> list[bytes]:
    """JPEGs of smooth coloured noise."""
    random = np.random.default_rng(5)
    pictures = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        pictures.append(file.getvalue())
    return pictures


def real_photos(count: int) -> tuple[list[bytes], np.ndarray]:
    """Clothing photos evenly over the classes, and their classes; empty where the data is not there."""
    root = Path(os.environ.get("PORTRAIT_TEST_DATA", "/nonexistent")) / "product-photos" / "test"
    files = sorted(root.glob("*/*.jpg"))
    files = files[:: max(1, len(files) // count)][:count]
    return [file.read_bytes() for file in files], np.array([file.parent.name for file in files])


def plain_encoder(device: torch.device) -> EfficientNetLite0:
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(packaged_path("efficientnet-lite0"), map_location="cpu", weights_only=True))
    return network.eval().to(device)


def encode_plainly(network: EfficientNetLite0, pictures: list[bytes], device: torch.device) -> np.ndarray:
    """The usual dozen lines around a vision network."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pictures), PLAIN_BATCH):
            pixels = []
            for data in pictures[start : start + PLAIN_BATCH]:
                image = Image.open(io.BytesIO(data)).convert("RGB")
                width, height = image.size
                edge = 0.875 * min(width, height)
                left, top = (width - edge) / 2, (height - edge) / 2
                box = (left, top, left + edge, top + edge)
                pixels.append(np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC, box=box)))
            batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().to(device)
            parts.append(torch.nn.functional.normalize(network((batch - 127) / 128), dim=1).cpu().numpy())
    return np.concatenate(parts)


def compare(ours: ImageEncoder, pictures: list[bytes]) -> tuple[dict[str, float], np.ndarray]:
    """Figures, and our vectors."""
    network = plain_encoder(ours.policy.device)
    ours.encode(pictures[:16]), encode_plainly(network, pictures[:16], ours.policy.device)
    mine_rates, plain_rates = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        vectors, ok = ours.encode(pictures)
        middle = time.perf_counter()
        reference = encode_plainly(network, pictures, ours.policy.device)
        mine_rates.append(len(pictures) / (middle - start))
        plain_rates.append(len(pictures) / (time.perf_counter() - middle))
    cosine = (vectors[ok] * reference[ok]).sum(1)
    return {
        "ours_per_s": round(statistics.median(mine_rates), 1),
        "plain_per_s": round(statistics.median(plain_rates), 1),
        "ratio": round(statistics.median(a / b for a, b in zip(mine_rates, plain_rates, strict=True)), 3),
        "lowest_cosine": round(float(cosine.min()), 4),
    }, vectors


def run(device: str = "auto") -> dict:
    """The measured claim: name, figure, bar, whether it holds, and the figures behind it."""
    ours = load_image_encoder(device=device)
    figures: dict = {"drawn": compare(ours, drawn_pictures(PICTURES))[0]}
    photos, labels = real_photos(PICTURES)
    if photos:
        figures["clothing_photos"], vectors = compare(ours, photos)
        cosine = vectors @ vectors.T
        np.fill_diagonal(cosine, -1)
        figures["clothing_photos"]["nearest_is_same_class"] = round(
            float((labels[cosine.argmax(1)] == labels).mean()), 3
        )
    ratio = min(part["ratio"] for part in figures.values())
    figures |= {"device": str(ours.policy.device), "autocast": str(ours.policy.dtype), "repeats": REPEATS}
    return {"name": "embedding_image", "figure": ratio, "bar": BAR, "holds": ratio >= BAR, "figures": figures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    text = json.dumps(run(arguments.device), indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
