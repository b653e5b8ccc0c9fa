"""Image encoders: packaged EfficientNet-Lite0, or CLIP/SigLIP and their like from Hugging Face."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from services.core.settings import DEFAULT_IMAGE_ENCODER
from services.encoders.device import DevicePolicy, resolve_device
from services.encoders.efficientnet_lite import FEATURES, load_efficientnet_lite0
from services.encoders.pictures import PictureLimits, UndecodablePicture, crop_to_square, decode_picture
from services.encoders.pretrained import load_pretrained, packaged_path, transformers, weights_fingerprint
from services.encoders.vision_tower import ImageEncoderConfig, VisionTower, read_input_config

Picture = Image.Image | bytes


class ImageEncoder:
    """Encodes pictures into L2-normalised vectors. `version` names the vector space."""

    def __init__(
        self,
        name: str,
        network: torch.nn.Module,
        dimension: int,
        config: ImageEncoderConfig,
        policy: DevicePolicy,
        limits: PictureLimits | None = None,
    ) -> None:
        self.name = name
        self.dimension = dimension
        self.config = config
        self.policy = policy
        self.limits = limits or PictureLimits()
        self.version = f"{name.rstrip('/').rsplit('/', 1)[-1]}-" + weights_fingerprint(
            network.state_dict(), repr(config)
        )
        self._network = network.eval().to(policy.device, memory_format=torch.channels_last)
        self._mean = torch.tensor(config.mean, device=policy.device).view(1, 3, 1, 1)
        self._std = torch.tensor(config.std, device=policy.device).view(1, 3, 1, 1)

    def encode(self, images: Sequence[Picture], limits: PictureLimits | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 (n, dimension) and a mask (n,) of the pictures that could be decoded; other rows are zero.

        `limits`: other ones than the encoder's own.
        """
        vectors = np.zeros((len(images), self.dimension), dtype=np.float32)
        mask = np.zeros(len(images), dtype=bool)
        rows: list[np.ndarray] = []
        parts: list[torch.Tensor] = []
        with self.policy.inference():
            for indices, pixels_BHWC in self._batches(images, limits or self.limits):
                rows.append(indices)
                parts.append(self._forward_within_memory(pixels_BHWC))
        if rows:
            index = np.concatenate(rows)
            vectors[index] = torch.cat(parts).cpu().numpy()
            mask[index] = np.isfinite(vectors[index]).all(1) & (np.abs(vectors[index]).max(1) > 0)
            vectors[~mask] = 0.0
        return vectors, mask

    def _batches(self, images: Sequence[Picture], limits: PictureLimits) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of decoded pictures; the next ones are decoded by threads while the network runs."""
        size = self.policy.image_batch
        with ThreadPoolExecutor(max_workers=max(1, self.policy.threads)) as pool:
            windows = (range(start, min(start + size, len(images))) for start in range(0, len(images), size))
            ahead = [
                [(i, pool.submit(self._prepare, images[i], limits)) for i in window] for window in islice(windows, 2)
            ]
            while ahead:
                decoded = [(i, future.result()) for i, future in ahead.pop(0)]
                if window := next(windows, None):
                    ahead.append([(i, pool.submit(self._prepare, images[i], limits)) for i in window])
                good = [(i, pixels) for i, pixels in decoded if pixels is not None]
                if good:
                    yield np.array([i for i, _ in good]), np.stack([pixels for _, pixels in good])

    def _prepare(self, image: Picture, limits: PictureLimits) -> np.ndarray | None:
        try:
            return crop_to_square(decode_picture(image, limits), self.config.side, self.config.keep)
        except UndecodablePicture:
            return None

    def _forward_within_memory(self, pixels_BHWC: np.ndarray) -> torch.Tensor:
        try:
            return self._forward(pixels_BHWC)
        except torch.OutOfMemoryError:
            if len(pixels_BHWC) == 1:
                raise
            torch.cuda.empty_cache()
        half = len(pixels_BHWC) // 2
        return torch.cat(
            [self._forward_within_memory(pixels_BHWC[:half]), self._forward_within_memory(pixels_BHWC[half:])]
        )

    def _forward(self, pixels_BHWC: np.ndarray) -> torch.Tensor:
        pixels = self.policy.to_device(torch.from_numpy(pixels_BHWC)).permute(0, 3, 1, 2)  # channels last already
        return F.normalize(self._network((pixels.float() - self._mean) / self._std).float(), dim=1)


def load_image_encoder(name: str = DEFAULT_IMAGE_ENCODER, device: str = "auto") -> ImageEncoder:
    """The encoder of that name: the packaged default, a folder, or a Hugging Face vision model.

    Raises:
        EncoderUnavailable: the model is not here and cannot be fetched, or is no image model.
        ConfigurationError: the device is unknown or absent.
    """
    policy = resolve_device(device)
    packaged = packaged_path(name)
    if packaged is not None and packaged.suffix == ".pth":
        state = torch.load(packaged, map_location="cpu", weights_only=True)
        return ImageEncoder(name, load_efficientnet_lite0(state), FEATURES, ImageEncoderConfig(), policy)
    source = str(Path(name).expanduser()) if Path(name).exists() else name
    model = load_pretrained(transformers().AutoModel, source, dtype=torch.float32)
    network = VisionTower(model, name)
    return ImageEncoder(name, network, network.dimension, read_input_config(source, model), policy)
