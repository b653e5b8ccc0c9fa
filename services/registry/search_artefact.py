"""The files of a trained search ranker: its networks as safetensors, and the manifest that every version has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from services.core.errors import CorruptArtefact, NotFound
from services.networks.numpy_search_ranker import NumpySearchRanker
from services.registry.manifest import ModelManifest
from services.registry.registry import ModelRegistry, Needs

RANKER = "search_ranker.safetensors"
CROSS_ENCODER = "cross_encoder.safetensors"
_ABOUT = "about"


class Reranking(msgspec.Struct, frozen=True):
    """What a version's cross-encoder is: `encoder` names the version of the text encoder whose lower layers it goes on
    from; `network` is its `CrossEncoderConfig`. `weight`: what its score counts beside the ranker's."""

    encoder: str
    weight: float
    network: dict[str, int | bool]


@dataclass(frozen=True)
class LoadedSearchRanker:
    """A verified ranker in memory."""

    manifest: ModelManifest
    network: NumpySearchRanker
    reranking: Reranking | None = None


def write_search_ranker(folder: Path, network: NumpySearchRanker) -> None:
    """Write a ranker's files, all but the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder / RANKER)


def load_search_ranker(registry: ModelRegistry, version: str, needs: Needs) -> LoadedSearchRanker:
    """Verify and read a version.

    Raises:
        NotFound: there is no such version.
        CorruptArtefact: a file is missing, differs from the manifest or holds no ranker, or it does not fit `needs`.
    """
    folder, manifest = registry.verified(version)
    needs.check(manifest)
    try:
        network = NumpySearchRanker.load(folder / RANKER)
        reranking = read_reranking(folder)
    except (OSError, KeyError, ValueError, TypeError, msgspec.DecodeError, safetensors.SafetensorError) as error:
        raise CorruptArtefact(f"{folder} cannot be read: {error}. Train the search ranker again") from error
    if network.features != needs.features:
        raise CorruptArtefact(f"{folder} scores other features than its manifest says: train the search ranker again")
    return LoadedSearchRanker(manifest, network, reranking)


def write_cross_encoder(folder: Path, weights: Mapping[str, NDArray], about: Reranking) -> None:
    """Write the layers that were taught, in half precision."""
    halved = {name: np.ascontiguousarray(value, np.float16) for name, value in weights.items()}
    save_file(halved, folder / CROSS_ENCODER, metadata={_ABOUT: msgspec.json.encode(about).decode()})


def read_reranking(folder: Path) -> Reranking | None:
    """What a version's cross-encoder is, None where it has none."""
    if not (folder / CROSS_ENCODER).is_file():
        return None
    with safe_open(folder / CROSS_ENCODER, framework="np") as file:
        return msgspec.json.decode(file.metadata()[_ABOUT], type=Reranking)


def read_cross_encoder(registry: ModelRegistry, version: str) -> tuple[Reranking, dict[str, NDArray]]:
    """Verify a version and read its cross-encoder.

    Raises:
        NotFound: there is no such version, or it has no cross-encoder.
        CorruptArtefact: a file is missing or differs from the manifest.
    """
    folder, _ = registry.verified(version)
    about = read_reranking(folder)
    if about is None:
        raise NotFound(f"The search ranker {version} has no cross-encoder")
    return about, {name: value.astype(np.float32) for name, value in load_file(folder / CROSS_ENCODER).items()}
