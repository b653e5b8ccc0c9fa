"""The files of a trained search ranker: its networks as safetensors, and the manifest that every version has."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import safetensors

from services.core.errors import CorruptArtefact
from services.networks.numpy_search_ranker import NumpySearchRanker
from services.registry.manifest import ModelManifest
from services.registry.registry import ModelRegistry, Needs

RANKER = "search_ranker.safetensors"


@dataclass(frozen=True)
class LoadedSearchRanker:
    """A verified ranker in memory."""

    manifest: ModelManifest
    network: NumpySearchRanker


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
    except (OSError, KeyError, ValueError, TypeError, msgspec.DecodeError, safetensors.SafetensorError) as error:
        raise CorruptArtefact(f"{folder} cannot be read: {error}. Train the search ranker again") from error
    if network.features != needs.features:
        raise CorruptArtefact(f"{folder} scores other features than its manifest says: train the search ranker again")
    return LoadedSearchRanker(manifest, network)
