"""Suggests queries for what has been typed so far: by prefix, past a slip of the finger, nearer to the user first."""

import string
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait
from services.features.snapshot_files import read_array, read_strings
from services.search.suggest.build import lookup_key, read_manifest
from services.search.suggest.phrases import Source

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]

MOST_TYPED = 100
LAST = "\U0010ffff"
LETTERS = string.ascii_lowercase


@dataclass(frozen=True)
class SuggestConfig:
    """Weights are in the logarithm of how often a phrase was asked or is held."""

    affinity: float = 3.0
    """What a phrase of the user's one favourite category or brand gains, times the portrait's confidence."""
    whole: float = 2.0
    """What a phrase that begins with what was typed gains over one that has it further on."""
    slip: float = 4.0
    """What a phrase loses that needs a letter changed."""
    pool: int = 64
    """Of the phrases of a prefix, the weightiest are personalised."""
    least_for_slip: int = 4
    """Letters of a last word in which a slip is looked for."""


@dataclass(frozen=True)
class Suggestion:
    """`source`: "query", "category", "brand" or "title"."""

    text: str
    source: str
    score: float


class Suggester:
    """The suggestions of one version. No state between requests: safe to share."""

    def __init__(self, folder: Path, config: SuggestConfig | None = None) -> None:
        """Raises CorruptArtefact where the folder holds no suggestions."""
        manifest = read_manifest(folder)
        self.version, self.config = manifest.version, SuggestConfig() if config is None else config
        self._texts = list(read_strings(folder, "texts"))
        self._keys = list(read_strings(folder, "keys"))
        self._owners: IndexArray = read_array(folder, "owners")
        self._weights: FloatArray = read_array(folder, "weights")
        self._sources: NDArray[np.int8] = read_array(folder, "sources")
        self._categories, self._category_codes = _coded(list(read_strings(folder, "categories")))
        self._brands, self._brand_codes = _coded(list(read_strings(folder, "brands")))

    def suggest(self, typed: str, portrait: Portrait | None = None, count: int = 10) -> list[Suggestion]:
        """The likeliest completions, best first; the weightiest phrases of all where nothing is typed."""
        prefix = lookup_key(typed[:MOST_TYPED])
        found, gains = self._beginning(prefix, 0.0)
        if found.size < count:
            for changed in self._slips(prefix):
                more, gain = self._beginning(changed, -self.config.slip)
                found, gains = np.concatenate((found, more)), np.concatenate((gains, gain))
        scores = self._weights[found] + gains + self._personal(found, portrait)
        order = np.argsort(-scores, kind="stable")
        _, first = np.unique(found[order], return_index=True)
        best = order[np.sort(first)][:count]
        return [
            Suggestion(self._texts[phrase], Source(int(self._sources[phrase])).name.lower(), round(score, 4))
            for phrase, score in zip(found[best].tolist(), scores[best].tolist(), strict=True)
        ]

    def _beginning(self, prefix: str, gain: float) -> tuple[IndexArray, FloatArray]:
        """The weightiest phrases in which a word begins with the prefix, and what each gains by that."""
        start = bisect_left(self._keys, prefix)
        end = bisect_left(self._keys, prefix + LAST, lo=start)
        owners = self._owners[start:end]
        if owners.size > self.config.pool:
            owners = owners[np.argpartition(-self._weights[owners], self.config.pool)[: self.config.pool]]
        whole = np.array([self._starts(owner, prefix) for owner in owners.tolist()], bool)
        return owners, (gain + self.config.whole * whole).astype(np.float32)

    def _starts(self, owner: int, prefix: str) -> bool:
        return lookup_key(self._texts[owner]).startswith(prefix)

    def _slips(self, prefix: str) -> Iterator[str]:
        """What was typed with one letter of its last word otherwise: only prefixes that some phrase has."""
        head, _, word = prefix.rpartition(" ")
        head = f"{head} " if head else ""
        if len(word) < self.config.least_for_slip or not word.isascii():
            return
        for variant in dict.fromkeys(_variants(word)):
            changed = head + variant
            at = bisect_left(self._keys, changed)
            if at < len(self._keys) and self._keys[at].startswith(changed):
                yield changed

    def _personal(self, found: IndexArray, portrait: Portrait | None) -> FloatArray:
        """What phrases of the user's categories and brands gain, float32 (n,)."""
        if portrait is None or not found.size:
            return np.zeros(found.size, np.float32)
        gain = np.zeros(found.size, np.float32)
        for pairs, known, codes in (
            (portrait.categories, self._categories, self._category_codes),
            (portrait.brands, self._brands, self._brand_codes),
        ):
            liking = np.zeros(len(known) + 1, np.float32)
            for name, weight in pairs:
                code = known.get(name)
                if code is not None:
                    liking[code] = weight
            gain += liking[codes[found]]
        return np.float32(self.config.affinity * portrait.confidence) * gain


def _coded(names: list[str]) -> tuple[dict[str, int], IndexArray]:
    """Codes of the names, and each one's code; the empty name is −1, the last place of an array of weights."""
    known = {name: code for code, name in enumerate(dict.fromkeys(filter(None, names)))}
    return known, np.array([known.get(name, -1) for name in names], np.int32)


def _variants(word: str) -> Iterator[str]:
    """The word with one letter left out, swapped with its neighbour, replaced, or put in; the first letter is right."""
    for at in range(1, len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
        for letter in LETTERS:
            yield word[:at] + letter + word[at + 1 :]
            yield word[:at] + letter + word[at:]
