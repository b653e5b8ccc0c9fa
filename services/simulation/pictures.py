"""Product pictures: the product's drawing in its colour on its style's background, as a small JPEG."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from services.simulation.catalogue import Catalogue
from services.simulation.chance import Stream, generator
from services.simulation.ids import item_ids
from services.simulation.shapes import Canvas, Paints, shapes
from services.simulation.vocabulary import vocabulary

SIDE = 160
SUPERSAMPLING = 2
QUALITY = 85
SHADOW = (0.18, 0.86, 0.82, 0.95)


def draw_pictures(seed: int, catalogue: Catalogue, items: np.ndarray, media_root: Path) -> int:
    """Writes one JPEG of 160 × 160 a product to `products/NN/ID.jpg` under the media folder; returns how many."""
    names = item_ids(items)
    for folder in {name[-2:] for name in names}:
        (media_root / "products" / folder).mkdir(parents=True, exist_ok=True)
    for number, name in zip(items.tolist(), names, strict=True):
        (media_root / "products" / name[-2:] / f"{name}.jpg").write_bytes(picture(seed, catalogue, number))
    return len(items)


def picture(seed: int, catalogue: Catalogue, item: int) -> bytes:
    """The JPEG of one product; size, place and light vary a little from product to product."""
    rng = generator(seed, Stream.PICTURE, item)
    words = vocabulary()
    scale, shift_x, shift_y, light, mirrored = rng.random(5).tolist()
    background = words.style_background[catalogue.style[item]].astype(float) * (0.96 + 0.06 * light)
    side = SIDE * SUPERSAMPLING
    image = Image.new("RGB", (side, side), tuple(np.clip(background, 0, 255).astype(int).tolist()))
    pen = ImageDraw.Draw(image)
    pen.ellipse([share * side for share in SHADOW], fill=tuple((background * 0.88).astype(int).tolist()))
    size = 0.72 + 0.14 * scale
    canvas = Canvas(
        pen=pen,
        scale=side * size / 100,
        left=side * ((1 - size) / 2 + 0.05 * (shift_x - 0.5)),
        top=side * ((1 - size) / 2 + 0.04 * (shift_y - 0.5)),
        mirrored=mirrored < 0.3,
    )
    colour = words.colour_rgb[catalogue.colour[item]]
    accent = words.colour_rgb[int(rng.integers(len(words.colour_rgb)))]
    canvas.paint(shapes()[words.leaves[catalogue.leaf[item]]["shape"]], Paints.of(colour, accent))
    out = BytesIO()
    image.reduce(SUPERSAMPLING).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
