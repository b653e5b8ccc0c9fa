"""One vector an item from whichever of text, image and video it has (the algebra is in docs/encoders.md).

    f = normalise(w_text · t  +  w · normalise(w_image · P i + w_video · P v)),   w = the larger weight of those present

A missing modality adds nothing. With text alone f is the text vector itself, bit for bit. P is a fixed random
projection that makes pictures nearly orthogonal to texts, so f · f′ is the mean of the modalities' cosines weighted by
w_text² and w², as if the blocks stood side by side, within about ±1/√dimension.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.core.errors import ConfigurationError
from services.core.types import Modality
from services.encoders.projection import random_projection

Matrix = np.ndarray


@dataclass(frozen=True, eq=False)
class FusionConfig:
    """Weights, encoder versions (they seed the projections) and, later, what was learned.

    `centres` are vectors (d,) subtracted before projecting, such as the catalogue's mean (`catalogue_centre`):
    unrelated pictures then have cosine 0, as an absent picture has. `learned` replaces the random projection of a
    modality by a matrix (d, dimension). Both change `version`, since they change the space.
    """

    dimension: int = 384
    text_weight: float = 1.0
    image_weight: float = 0.5
    video_weight: float = 0.5
    text_version: str = "text"
    image_version: str = "image"
    video_version: str | None = None
    centres: Mapping[Modality, np.ndarray] = field(default_factory=dict)
    learned: Mapping[Modality, Matrix] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weights = (self.text_weight, self.image_weight, self.video_weight)
        if self.dimension < 1 or not all(np.isfinite(weights)) or min(weights) < 0 or max(weights) == 0:
            raise ConfigurationError("Fusion needs a dimension of at least 1 and weights ≥ 0, not all of them 0")

    def encoder_version(self, modality: Modality) -> str:
        """Video frames are pictures: without a version of its own, video shares the image encoder's space."""
        if modality is Modality.TEXT:
            return self.text_version
        if modality is Modality.VIDEO and self.video_version is not None:
            return self.video_version
        return self.image_version

    @property
    def version(self) -> str:
        """Names the fused space: equal versions are comparable."""
        digest = hashlib.blake2b(digest_size=6)
        named = [self.dimension, self.text_weight, self.image_weight, self.video_weight]
        digest.update(repr(named + [self.encoder_version(modality) for modality in Modality]).encode())
        for part in (self.centres, self.learned):
            for modality in sorted(part):
                digest.update(modality.encode() + np.ascontiguousarray(part[modality], dtype=np.float32).tobytes())
        return f"fused-{self.dimension}-{digest.hexdigest()}"


def fuse(
    text: np.ndarray | None,
    image: np.ndarray | None,
    video: np.ndarray | None,
    masks: Mapping[Modality, np.ndarray] | None = None,
    config: FusionConfig | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fused vectors float32 (n, dimension) of length 1 and coverage (n,): whether the item has any modality.

    `text`, `image` and `video` are float32 (n, d) each, or None; rows that `masks` (n,) calls False, rows of zeros and
    rows with NaN count as missing. Items without any modality get zeros.

    Raises:
        ConfigurationError: no modality was given, or shapes do not agree.
    """
    config = config or FusionConfig()
    given = {Modality.TEXT: text, Modality.IMAGE: image, Modality.VIDEO: video}
    count = _count_rows(given, masks or {})
    blocks = {
        modality: _block(modality, vectors, (masks or {}).get(modality), config)
        for modality, vectors in given.items()
        if vectors is not None and _weight(modality, config) > 0
    }
    visual_ND = _visual_block(blocks, config, count)
    text_ND = blocks.get(Modality.TEXT)
    if text_ND is None:
        fused = _normalise(visual_ND)
    else:
        text_alone = ~visual_ND.any(1)
        fused = np.where(text_alone[:, None], text_ND, _normalise(config.text_weight * text_ND + visual_ND))
    return fused, fused.any(1)


def catalogue_centre(vectors: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The mean vector float32 (d,) of a catalogue's items that have the modality; zeros when none has."""
    chosen = vectors if mask is None else vectors[mask]
    return chosen.mean(0).astype(np.float32) if len(chosen) else np.zeros(vectors.shape[1], dtype=np.float32)


def _count_rows(given: Mapping[Modality, np.ndarray | None], masks: Mapping[Modality, np.ndarray]) -> int:
    counts = {len(vectors) for vectors in given.values() if vectors is not None}
    counts |= {len(masks[modality]) for modality, vectors in given.items() if vectors is not None and modality in masks}
    if len(counts) != 1:
        raise ConfigurationError("Fusion needs at least one modality, and as many rows in each array and mask")
    return counts.pop()


def _weight(modality: Modality, config: FusionConfig) -> float:
    weights = {Modality.TEXT: config.text_weight, Modality.IMAGE: config.image_weight}
    return weights.get(modality, config.video_weight)


def _block(modality: Modality, vectors: np.ndarray, mask: np.ndarray | None, config: FusionConfig) -> np.ndarray:
    """The modality in the fused space: float32 (n, dimension), rows of length 1, missing rows zero."""
    present = np.isfinite(vectors).all(1) & vectors.any(1)
    if mask is not None:
        present = present & np.asarray(mask, dtype=bool)
    block = np.where(present[:, None], vectors, 0).astype(np.float32)
    if modality in config.centres:
        block = np.where(present[:, None], block - config.centres[modality], 0)
    if (matrix := _matrix(modality, block.shape[1], config)) is not None:
        block = block @ matrix
    return _normalise(block)


def _matrix(modality: Modality, inner: int, config: FusionConfig) -> Matrix | None:
    """The map into the fused space, None for the identity: text that already has the fused dimension stays as it is."""
    if modality in config.learned:
        matrix = np.asarray(config.learned[modality], dtype=np.float32)
        if matrix.shape != (inner, config.dimension):
            raise ConfigurationError(
                f"The learned {modality} fusion is {matrix.shape}, but the vectors need {(inner, config.dimension)}"
            )
        return matrix
    if modality is Modality.TEXT and inner == config.dimension:
        return None
    return random_projection(config.encoder_version(modality), inner, config.dimension)


def _visual_block(blocks: Mapping[Modality, np.ndarray], config: FusionConfig, count: int) -> np.ndarray:
    """Image and video as one weighted block: two views of a thing are averaged, so that they do not count twice."""
    image, video = blocks.get(Modality.IMAGE), blocks.get(Modality.VIDEO)
    direction = np.zeros((count, config.dimension), dtype=np.float32)
    weight = np.zeros(count, dtype=np.float32)
    for block, factor in ((image, config.image_weight), (video, config.video_weight)):
        if block is not None:
            direction += factor * block
            weight = np.maximum(weight, factor * block.any(1))
    return _normalise(direction) * weight[:, None]


def _normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1. Rows that already have it keep their very bits, rows of (almost) no length become zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-6)
    return np.where(np.abs(lengths - 1) < 1e-5, vectors, scaled).astype(np.float32, copy=False)
