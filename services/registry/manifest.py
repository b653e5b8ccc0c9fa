"""What a published model says of itself."""

import hashlib
from pathlib import Path

import msgspec

from services.core.errors import CorruptArtefact

FORMAT = 1
MANIFEST = "manifest.json"
MODELS, SEARCH_RANKER = "models", "search-ranker"
"""Kinds of versions: a user model with its ranker, and a ranker of search."""


class Measured(msgspec.Struct, frozen=True):
    """A metric's mean over users with its 95% interval."""

    mean: float
    low: float
    high: float


class DataRange(msgspec.Struct, frozen=True):
    """What a model learned from. `digest` tells whether two models were measured on the same events."""

    events: int
    users: int
    items: int
    first: str
    last: str
    target: str
    digest: str


class FileEntry(msgspec.Struct, frozen=True):
    """Size and SHA-256 (hexadecimal) of one file."""

    bytes: int
    sha256: str


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model.

    `kind`: `MODELS` or `SEARCH_RANKER`; of the latter `baseline` is what the untrained ranker reaches.
    `created` epoch seconds; `space`: the content vectors its item tower reads (encoder and fusion versions);
    `features`: names of what its ranker reads, `feature_service` and `feature_hash`: the Feast service that serves them
    and a digest of the transforms' columns; `snapshot`: the item snapshot it was trained beside. `metrics` and
    `baseline`: what it and the linear blend reach on the same held-out users; `gain`: the ratio of both, of NDCG@10.
    `taught_by`: whether served lists (impressions) taught the ranker or sampled candidates; `dataset`: the digest of
    the exported lists.
    `encoders`: versions of the encoders that `space` is made of, by modality; `importances`: by feature the mean size
    of what it adds to the ranker's score of a candidate.
    """

    version: str
    created: float
    config: str
    seed: int
    space: str
    features: tuple[str, ...]
    feature_service: str
    feature_hash: str
    snapshot: str
    data: DataRange
    metrics: dict[str, Measured]
    baseline: dict[str, Measured]
    gain: Measured
    epochs: int
    seconds: float
    kind: str = MODELS
    commit: str = ""
    taught_by: str = "candidates"
    dataset: str = ""
    encoders: dict[str, str] = {}
    importances: dict[str, float] = {}
    files: dict[str, FileEntry] = {}
    format: int = FORMAT


def feature_hash(features: tuple[str, ...]) -> str:
    """Digest of the ranker's inputs, in order."""
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:16]


def file_entry(path: Path) -> FileEntry:
    """Size and hash of a file."""
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write_manifest(folder: Path, manifest: ModelManifest) -> None:
    """Write the manifest, with the files that lie beside it."""
    files = {path.name: file_entry(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    whole = msgspec.structs.replace(manifest, files=files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))


def read_manifest(folder: Path) -> ModelManifest:
    """The manifest of a version.

    Raises:
        CorruptArtefact: there is none, or one of another format.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ModelManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise CorruptArtefact(f"{folder} is no model: see `portrait models list`, or train a new one") from error
    if manifest.format != FORMAT:
        raise CorruptArtefact(f"{folder} has format {manifest.format}, this version reads {FORMAT}: train a new one")
    return manifest


def verify(folder: Path) -> ModelManifest:
    """The manifest, once every file was found as it says.

    Raises:
        CorruptArtefact: a file is missing or differs.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or file_entry(path) != entry:
            raise CorruptArtefact(f"{path} is missing or damaged: publish the model again, or train a new one")
    return manifest
