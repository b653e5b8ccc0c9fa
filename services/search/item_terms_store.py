"""Keeps the item terms of a snapshot beside the search indexes: made once, mapped by every process.

The worker that builds a snapshot makes them before it publishes it; a gateway whose home lacks them makes its own. With
object storage they go there as well, and gateways fetch them before the snapshot.
"""

import hashlib
import os
import shutil
import time
import uuid
from pathlib import Path

import msgspec

from services.core.errors import CorruptArtefact
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_files import MANIFEST, FileEntry, check_sizes, file_entries
from services.search.item_terms import ItemTerms
from services.search.item_terms_build import build_item_terms
from services.search.text.analyser import Analyser

FOLDER = "terms"
KEPT = 2
FORMAT = "3"
"""Changes when terms are made otherwise."""


class TermsManifest(msgspec.Struct, frozen=True):
    """`created`: epoch seconds."""

    version: str
    created: float
    files: dict[str, FileEntry]


def item_terms_of(snapshot: ItemSnapshot, analyser: Analyser, search: Path) -> ItemTerms:
    """The terms of a snapshot's titles, row by row: those kept under `search`, made and kept there when there are none.

    They hang on the titles alone: a snapshot that differs in engagement finds those of the one before. Making them
    takes about a second for 6,000 titles.
    """
    folder = search / FOLDER / terms_name(snapshot, analyser)
    try:
        found = ItemTerms.open(folder)
        os.utime(folder)  # in use: not among the oldest
        return found
    except CorruptArtefact:
        made = build_item_terms(snapshot.titles, analyser)
    hidden = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    hidden.mkdir(parents=True)
    try:
        made.save(hidden)
        _describe(hidden, folder.name)
        _put(hidden, folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    prune_terms(folder.parent)
    return ItemTerms.open(folder)


def read_manifest(folder: Path) -> TermsManifest:
    """The manifest of a folder whose files have the recorded sizes. Raises CorruptArtefact."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=TermsManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise CorruptArtefact(f"{folder} holds no terms of titles: delete it") from error
    check_sizes(folder, manifest.files, "delete this folder")
    return manifest


def _describe(folder: Path, name: str) -> None:
    (folder / MANIFEST).write_bytes(msgspec.json.encode(TermsManifest(name, time.time(), file_entries(folder))))


def _put(made: Path, folder: Path) -> None:
    """Give a folder its name. Where another process was quicker its files stay, which others may be opening: they are
    as good. Damaged ones go."""
    try:
        made.rename(folder)
    except OSError:
        try:
            ItemTerms.open(folder)
        except CorruptArtefact:
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)


def terms_name(snapshot: ItemSnapshot, analyser: Analyser) -> str:
    """Digest of the titles in their order, of the language and of the layout."""
    titles = "\0".join((FORMAT, analyser.config.language, *snapshot.titles))
    return hashlib.blake2b(titles.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def prune_terms(folder: Path) -> None:
    """Remove all but the newest; files that are mapped stay readable."""
    versions = sorted((path for path in folder.glob("[!.]*") if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in versions[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
