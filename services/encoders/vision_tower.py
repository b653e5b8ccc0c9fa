"""The vision half of a Hugging Face model, and what its pictures must look like."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from services.encoders.pretrained import EncoderUnavailable, read_json


@dataclass(frozen=True)
class ImageEncoderConfig:
    """How a picture becomes the network's input: resized to `side`, then (value − mean) / std on 0–255 values.

    `keep` is the share of the shorter side that the central square keeps.
    """

    side: int = 224
    keep: float = 0.875
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)


class VisionTower(torch.nn.Module):
    """The vision half of a Hugging Face model: CLIP-like image features, or a vision transformer's pooled output."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        vision = getattr(model.config, "vision_config", model.config)
        if not hasattr(model, "get_image_features") and not hasattr(vision, "num_channels"):
            raise EncoderUnavailable(
                f"{name!r} is not an image model: choose a CLIP, SigLIP or vision transformer model"
            )
        self.kind: Literal["features", "pooled"] = "features" if hasattr(model, "get_image_features") else "pooled"
        for text_part in ("text_model", "text_projection"):
            if hasattr(model, text_part):
                setattr(model, text_part, None)  # half of the memory, never used here
        self.model = model
        side = int(getattr(vision, "image_size", 224))
        with torch.inference_mode():
            self.dimension = int(self(torch.zeros(1, 3, side, side)).shape[1])

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        call = self.model.get_image_features if self.kind == "features" else self.model
        output = call(pixel_values=image_BCHW)
        if isinstance(output, torch.Tensor):
            return output
        pooled = getattr(output, "pooler_output", None)
        pooled = output.last_hidden_state.mean(1) if pooled is None else pooled
        return pooled.flatten(1)


def read_input_config(source: str, model: Any) -> ImageEncoderConfig:
    """Side, mean and std that the model was trained with; a vision transformer's usual ones where it says nothing."""
    stored = read_json(source, "preprocessor_config.json") or {}
    stored = stored.get("image_processor", stored)
    vision = getattr(model.config, "vision_config", model.config)
    scale = 255.0
    mean = stored.get("image_mean") or [0.5, 0.5, 0.5]
    std = stored.get("image_std") or [0.5, 0.5, 0.5]
    return ImageEncoderConfig(
        side=int(getattr(vision, "image_size", 224)),
        keep=1.0,
        mean=tuple(scale * float(value) for value in mean),
        std=tuple(scale * float(value) for value in std),
    )
