"""The files of a model: weights as safetensors, the words of its embeddings as Arrow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import safetensors

from services.core.errors import CorruptArtefact
from services.networks.item_inputs import Vocabulary
from services.networks.numpy_ranker import NumpyRanker
from services.networks.numpy_user_model import NumpyUserModel
from services.registry.manifest import ModelManifest, verify

USER_MODEL, RANKER, WORDS = "user_model.safetensors", "ranker.safetensors", "words.arrow"
KINDS = ("item", "category", "brand", "price_edge")


@dataclass(frozen=True)
class LoadedModel:
    """A verified model in memory. `ranker` None: the linear blend ranks what the user model retrieves."""

    manifest: ModelManifest
    user_model: NumpyUserModel
    words: Vocabulary
    ranker: NumpyRanker | None


def write_artefact(folder: Path, user_model: NumpyUserModel, words: Vocabulary, ranker: NumpyRanker | None) -> None:
    """Write a model's files, all but the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    user_model.save(folder / USER_MODEL)
    if ranker is not None:
        ranker.save(folder / RANKER)
    feather.write_feather(_table(words), str(folder / WORDS), compression="zstd")


def load_artefact(folder: Path) -> LoadedModel:
    """Verify and read a model.

    Raises:
        CorruptArtefact: a file is missing, differs from the manifest, or does not hold what it should.
    """
    manifest = verify(folder)
    try:
        ranker = NumpyRanker.load(folder / RANKER) if RANKER in manifest.files else None
        return LoadedModel(manifest, NumpyUserModel.load(folder / USER_MODEL), _words(folder / WORDS), ranker)
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException, safetensors.SafetensorError) as error:
        raise CorruptArtefact(f"{folder} cannot be read: {error}. Train the model again") from error


def _table(words: Vocabulary) -> pa.Table:
    """One row a word: which kind it is, its name, and an item's number of training examples."""
    names = [words.items, words.categories, words.brands, tuple(map(repr, words.price_edges))]
    kinds = [kind for kind, some in zip(KINDS, names, strict=True) for _ in some]
    counts = [*words.counts.tolist(), *([0.0] * (len(kinds) - len(words.items)))]
    flat = [name for some in names for name in some]
    return pa.table(
        {
            "kind": pa.array(kinds, pa.string()),
            "name": pa.array(flat, pa.string()),
            "count": pa.array(counts, pa.float32()),
        }
    )


def _words(path: Path) -> Vocabulary:
    table = feather.read_table(str(path))
    kinds, names = np.array(table["kind"].to_pylist(), object), table["name"].to_pylist()
    item, category, brand, edge = (
        tuple(names[row] for row in np.flatnonzero(kinds == kind).tolist()) for kind in KINDS
    )
    counts = table["count"].to_numpy()[kinds == "item"]
    return Vocabulary(item, category, brand, tuple(map(float, edge)), counts.astype(np.float32))
