"""One vector an item from whatever modalities it has.

fused = normalise(w_text·T + w_image·P_image·I + w_video·P_video·V), over the modalities that are present.

T, I, V are unit vectors. `P` maps a block of another dimension to the fused one: a fixed Gaussian matrix scaled by
1/√D, which keeps inner products up to an error of about 1/√D (Johnson and Lindenstrauss, 1984) and makes blocks of
different modalities nearly orthogonal. So an item with text alone keeps its text vector exactly, the cosine of two
items with text and picture is the weighted mean of both cosines, and the cosine of a text-only item with a fully
described one is the text cosine times w_text / √(Σw²): smaller, in the same order.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from services.core.errors import InvalidInput
from services.core.types import Modality


@dataclass(frozen=True)
class FusionConfig:
    """`dimension` D of the fused vectors, the weight of each modality, and the seed of the projections."""

    dimension: int = 384
    text_weight: float = 1.0
    image_weight: float = 0.4
    video_weight: float = 0.4
    seed: int = 20261123

    @property
    def version(self) -> str:
        """Names this fusion; another version's vectors are not comparable."""
        digest = hashlib.blake2b(repr(sorted(asdict(self).items())).encode(), digest_size=4).hexdigest()
        return f"fusion-{self.dimension}-{digest}"

    def weight(self, modality: Modality) -> float:
        """The weight of a modality."""
        return {
            Modality.TEXT: self.text_weight,
            Modality.IMAGE: self.image_weight,
            Modality.VIDEO: self.video_weight,
        }[modality]


@dataclass(frozen=True)
class ModalityVectors:
    """Vectors (n, d) float32 of one modality and which rows have one; rows without are ignored."""

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]


@lru_cache(maxsize=8)
def projection(modality: Modality, source: int, target: int, seed: int) -> NDArray[np.float32]:
    """The fixed (source, target) matrix of a modality; image and video of one size share it, as they share a space."""
    space = "text" if modality is Modality.TEXT else "vision"
    digest = hashlib.blake2b(f"{seed}:{space}:{source}:{target}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    return (random.standard_normal((source, target)) / np.sqrt(target)).astype(np.float32)


def fuse(
    blocks: dict[Modality, ModalityVectors], config: FusionConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fused vectors (n, D) float32, L2-normalised (zero where an item has nothing), and which rows have one.

    Raises:
        InvalidInput: the blocks do not have the same number of rows, or there is none.
    """
    sizes = {len(block.vectors) for block in blocks.values()}
    if len(sizes) != 1:
        raise InvalidInput("Fusion needs at least one modality, and all of them for the same items")
    total = np.zeros((sizes.pop(), config.dimension), np.float32)
    for modality, block in blocks.items():
        rows = np.flatnonzero(block.present)
        if rows.size:
            total[rows] += config.weight(modality) * _in_space(modality, block.vectors[rows], config)
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    covered = norms[:, 0] > 0
    return np.divide(total, norms, out=total, where=norms > 0), covered


def _in_space(modality: Modality, vectors: NDArray[np.float32], config: FusionConfig) -> NDArray[np.float32]:
    if modality is not Modality.TEXT or vectors.shape[1] != config.dimension:
        vectors = vectors @ projection(modality, vectors.shape[1], config.dimension, config.seed)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
