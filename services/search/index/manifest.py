"""What a search index folder is, and that its files are whole."""

from pathlib import Path

import msgspec

from services.core.errors import CorruptArtefact
from services.features.snapshot_files import FileEntry, check_sizes, file_entry

FORMAT = 1
MANIFEST = "manifest.json"
LOCKS = (".lock",)
"""Files of the engine that are no part of what it holds."""


class SearchManifest(msgspec.Struct, frozen=True):
    """`source`: digest of the items it was built from; `created`: epoch seconds; `language`: the stemmer's."""

    format: int
    version: str
    created: float
    source: str
    count: int
    language: str
    files: dict[str, FileEntry]


def write_manifest(
    folder: Path, *, version: str, created: float, source: str, count: int, language: str
) -> SearchManifest:
    """Describe the files of a folder that is complete."""
    files = {str(path.relative_to(folder)): file_entry(path) for path in sorted(folder.rglob("*")) if _counted(path)}
    manifest = SearchManifest(FORMAT, version, created, source, count, language, files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def read_manifest(folder: Path) -> SearchManifest:
    """The manifest of a folder whose files have the recorded sizes.

    Raises:
        CorruptArtefact: no manifest, one of another format, or a file is missing or of another size.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=SearchManifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptArtefact(f"{folder} is no search index: build a new one") from error
    if manifest.format != FORMAT:
        raise CorruptArtefact(f"{folder} has format {manifest.format}, this version reads {FORMAT}: build a new one")
    check_sizes(folder, manifest.files, "build a new search index")
    return manifest


def _counted(path: Path) -> bool:
    return path.is_file() and path.name != MANIFEST and path.suffix not in LOCKS
