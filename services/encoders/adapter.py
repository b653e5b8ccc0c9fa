"""A text encoder adapted to a shop: the name of a base encoder, and low-rank changes of its weights on top of it.

A folder of peft's files (LoRA, Hu et al. 2021) with `portrait.json` beside them. `PORTRAIT_TEXT_ENCODER=FOLDER` serves
it: the changes are merged into the base when it is loaded, so encoding costs what it cost before, and the version of
the vectors, which is made of the weights, becomes another.
"""

from pathlib import Path
from typing import Any

import msgspec

from services.encoders.pretrained import EncoderUnavailable

ADAPTER = "portrait.json"


class AdapterManifest(msgspec.Struct, frozen=True, kw_only=True):
    """How an adapter came about. `base`: the encoder it changes, `base_version`: the version of that one's vectors;
    `pairs`: that it learned from, by kind; `before`, `after`: recall@10 on items that it has not seen."""

    base: str
    base_version: str
    created: float
    config: str
    seed: int
    pairs: dict[str, int]
    before: float
    after: float
    epochs: int
    seconds: float
    commit: str = ""


def read_adapter(folder: Path) -> AdapterManifest | None:
    """What a folder says of its adapter, None where it holds none.

    Raises:
        EncoderUnavailable: the file is there and cannot be read.
    """
    path = folder / ADAPTER
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=AdapterManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise EncoderUnavailable(f"{path} cannot be read: train the adapter again") from error


def write_adapter(folder: Path, model: Any, manifest: AdapterManifest) -> None:
    """Keep a peft model's changes, and how they came about."""
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's model card, of a template
    (folder / ADAPTER).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def with_adapter(model: Any, folder: Path) -> Any:
    """The base model with an adapter's changes in its weights.

    Raises:
        EncoderUnavailable: peft is missing, or the files do not fit the model.
    """
    try:
        import peft  # noqa: PLC0415 - slow, and needed for adapters alone
    except ImportError as error:
        raise EncoderUnavailable(f"{folder} is an adapter, which needs peft: run `pip install peft`") from error
    try:
        return peft.PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0][:300]
        raise EncoderUnavailable(f"{folder} does not fit its base encoder: train it again", reason=reason) from error
