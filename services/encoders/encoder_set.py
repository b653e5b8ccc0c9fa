"""The encoders of this deployment, loaded when first used and kept."""

from functools import cached_property

import numpy as np

from services.core.paths import HomePaths
from services.core.settings import Settings
from services.encoders.fusion import FusionConfig, fuse
from services.encoders.image import ImageEncoder, load_image_encoder
from services.encoders.media import FetchPolicy, MediaFetcher
from services.encoders.text import TextEncoder, load_text_encoder
from services.encoders.video import VideoEncoder


class EncoderSet:
    """Text, image and video encoders and the fetcher of media, as the settings name them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def text(self) -> TextEncoder:
        return load_text_encoder(self._settings.text_encoder, self._settings.device)

    @cached_property
    def image(self) -> ImageEncoder:
        return load_image_encoder(self._settings.image_encoder, self._settings.device)

    @cached_property
    def video(self) -> VideoEncoder:
        return VideoEncoder(self.image)

    @cached_property
    def media(self) -> MediaFetcher:
        return MediaFetcher(FetchPolicy(media_root=HomePaths(self._settings.home).media))

    @cached_property
    def fusion(self) -> FusionConfig:
        return FusionConfig(
            dimension=self.text.dimension, text_version=self.text.version, image_version=self.image.version
        )

    @cached_property
    def space(self) -> str:
        """The name of the vector space these encoders and this fusion make."""
        return self.fusion.version

    def in_space(self, *, text: np.ndarray | None = None, image: np.ndarray | None = None) -> np.ndarray:
        """Vectors of texts or of pictures, each alone, in the items' space: float32 (n, dimension)."""
        return fuse(text, image, None, config=self.fusion)[0]
