"""Keeps the item terms of a snapshot beside the search indexes: made once, mapped by every process.

The worker that builds a snapshot makes them before it publishes it; a gateway whose home lacks them makes its own.
"""

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from services.core.errors import CorruptArtefact
from services.features.snapshot import ItemSnapshot
from services.search.item_terms import ItemTerms
from services.search.item_terms_build import build_item_terms
from services.search.text.analyser import Analyser

FOLDER = "terms"
KEPT = 2
FORMAT = "2"
"""Changes when terms are made otherwise."""


def item_terms_of(snapshot: ItemSnapshot, analyser: Analyser, search: Path) -> ItemTerms:
    """The terms of a snapshot's titles, row by row: those kept under `search`, made and kept there when there are none.

    They hang on the titles alone: a snapshot that differs in engagement finds those of the one before. Making them
    takes about a second for 6,000 titles.
    """
    folder = search / FOLDER / _name(snapshot, analyser)
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
        _put(hidden, folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    _prune(folder.parent)
    return ItemTerms.open(folder)


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


def _name(snapshot: ItemSnapshot, analyser: Analyser) -> str:
    """Digest of the titles in their order, of the language and of the layout."""
    titles = "\0".join((FORMAT, analyser.config.language, *snapshot.titles))
    return hashlib.blake2b(titles.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _prune(folder: Path) -> None:
    """Remove all but the newest; files that are mapped stay readable."""
    versions = sorted((path for path in folder.glob("[!.]*")), key=lambda path: path.stat().st_mtime)
    for path in versions[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
