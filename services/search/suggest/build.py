"""Builds the suggestions of a shop: `HOME/suggest/<version>/`, swapped like the search index."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from services.core.errors import CorruptArtefact
from services.features.arrow_columns import text_column
from services.features.snapshot_files import FileEntry, check_sizes, file_entries, write_array, write_strings
from services.features.versions import IN_USE_S, current_folder, make_current, new_folder, prune_folders
from services.search.suggest.phrases import Phrase, distinct, name_phrases, query_phrases, title_phrases
from services.search.text.analyser import Analyser, AnalyserConfig
from services.search.text.normal import folded, normalise

FORMAT = 1
MANIFEST = "manifest.json"
HAN = range(0x3400, 0xA000)
"""Characters any of which may begin a word."""


class SuggestManifest(msgspec.Struct, frozen=True):
    """`created`: epoch seconds; `language`: the stemmer's. `files`: none in suggestions of an earlier release, which
    object storage does not take."""

    format: int
    version: str
    created: float
    count: int
    language: str
    files: dict[str, FileEntry] = {}


def build_suggestions(
    items: pa.Table, asked: Mapping[str, int], suggest: Path, *, now: datetime, config: AnalyserConfig | None = None
) -> str:
    """A new version of the suggestions: from items (title, brand, categories), and queries with how many people
    asked each.

    Give only queries that found something. Returns the version's name.
    """
    config = AnalyserConfig() if config is None else config
    analyser = Analyser(config)
    columns = set(items.column_names)
    categories = items["categories"].to_pylist() if "categories" in columns else [None] * items.num_rows
    brands = items["brand"].to_pylist() if "brand" in columns else [None] * items.num_rows
    titles = [analyser.tokens(title or "") for title in items["title"].to_pylist()]
    phrases = distinct(
        [
            *query_phrases(asked),
            *name_phrases(categories, brands),
            *title_phrases(titles, categories, brands, analyser),
        ],
        analyser,
    )
    digest = hashlib.sha256(msgspec.json.encode([(phrase.text, round(phrase.weight, 4)) for phrase in phrases]))
    version = f"{now:%Y%m%dT%H%M%S}-{digest.hexdigest()[:12]}"
    if (suggest / version / MANIFEST).is_file():
        return version
    with new_folder(suggest, version) as folder:
        _write(folder, phrases)
        manifest = SuggestManifest(
            FORMAT, version, now.timestamp(), len(phrases), config.language, file_entries(folder)
        )
        (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return version


def current_suggestions(suggest: Path) -> Path | None:
    """The folder of the published suggestions, or None before the first."""
    return current_folder(suggest)


def publish(suggest: Path, version: str) -> Path:
    """Make a version the current one, atomically. Raises CorruptArtefact where there is no such version."""
    read_manifest(suggest / version)
    return make_current(suggest, version)


def prune(suggest: Path, *, keep: int = 2, now: float | None = None, in_use_s: float = IN_USE_S) -> list[str]:
    """Delete old versions (see `versions.prune_folders`). Returns which."""
    return prune_folders(suggest, lambda folder: (folder / MANIFEST).is_file(), keep=keep, now=now, in_use_s=in_use_s)


def read_manifest(folder: Path) -> SuggestManifest:
    """The manifest of a folder whose files have the recorded sizes.

    Raises:
        CorruptArtefact: no manifest, one of another format, or a file is missing or of another size.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=SuggestManifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptArtefact(f"{folder} holds no suggestions: build new ones") from error
    if manifest.format != FORMAT:
        raise CorruptArtefact(f"{folder} has format {manifest.format}, this version reads {FORMAT}: build a new one")
    check_sizes(folder, manifest.files, "build new suggestions")
    return manifest


def lookup_key(text: str) -> str:
    """How phrases and what is typed are compared: normalised, without accents, single spaces."""
    return " ".join(folded(normalise(text)).split())


def _write(folder: Path, phrases: list[Phrase]) -> None:
    keys: list[tuple[str, int]] = []
    for position, phrase in enumerate(phrases):
        key = lookup_key(phrase.text)
        starts = [
            0,
            *(at + 1 for at, (before, letter) in enumerate(pairwise(key)) if before == " " or ord(letter) in HAN),
        ]
        keys += [(key[start:], position) for start in starts]
    keys.sort()
    texts = {
        "texts": [phrase.text for phrase in phrases],
        "categories": [phrase.category for phrase in phrases],
        "brands": [phrase.brand for phrase in phrases],
        "keys": [key for key, _ in keys],
    }
    for name, values in texts.items():
        write_strings(folder, name, *text_column(pa.array(values, pa.string())))
    write_array(folder, "owners", np.array([position for _, position in keys], np.int32))
    write_array(folder, "weights", np.array([phrase.weight for phrase in phrases], np.float32))
    write_array(folder, "sources", np.array([phrase.source for phrase in phrases], np.int8))
