"""Keeps the item terms of a snapshot beside the search indexes: made once, mapped by every process."""

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


def item_terms_of(snapshot: ItemSnapshot, analyser: Analyser, search: Path) -> ItemTerms:
    """The terms of a snapshot's titles, row by row: those kept under `search`, made and kept there when there are none.

    Making them takes about a second for 6,000 titles: a worker does it before the snapshot is served.
    """
    folder = search / FOLDER / f"{snapshot.version}-{analyser.config.language}"
    try:
        return ItemTerms.open(folder)
    except CorruptArtefact:
        made = build_item_terms(snapshot.titles, analyser)
    hidden = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    hidden.mkdir(parents=True)
    try:
        made.save(hidden)
        shutil.rmtree(folder, ignore_errors=True)
        hidden.rename(folder)
    except OSError:  # another process was quicker, and its files are as good
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    _prune(folder.parent)
    return ItemTerms.open(folder)


def _prune(folder: Path) -> None:
    """Remove all but the newest; files that are mapped stay readable."""
    versions = sorted((path for path in folder.glob("[!.]*")), key=lambda path: path.stat().st_mtime)
    for path in versions[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
