"""The search index in use: a tantivy index and word tables of the same analysed texts, in one immutable folder.

`HOME/search/<version>/` holds one version, `HOME/search/current` names the one in use; a worker builds or updates one
(`services.search.index.build`), serving processes notice (`current_index`) and open it beside the old one.
"""

from pathlib import Path


def current_index(search: Path) -> Path | None:
    """The folder of the published search index, or None before the first."""
    raise NotImplementedError


class SearchIndex:
    """Everything search knows of the catalogue's words. `version` names it; rows are its own, ascending by item_id."""

    version: str

    @classmethod
    def open(cls, folder: Path) -> "SearchIndex":
        """Raises CorruptArtefact where the folder does not match its manifest."""
        raise NotImplementedError
