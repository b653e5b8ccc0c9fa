"""The shop's own words: how many items have each, which stand near each other, and which are spelt alike."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.features.arrow_columns import text_column
from services.features.snapshot_files import StringColumn, read_array, read_strings, write_array, write_strings
from services.search.spelling.deletions import MAX_EDITS, build_deletions, near_words
from services.search.text.analyser import Analyser, Kind, Token
from services.search.text.normal import folded
from services.search.text.units import units

WINDOW = 3
"""Words of a title this many places apart count as a pair."""
MAX_PAIRS = 5_000_000
MOST_ITEMS = 2**31 - 1
LONG_WORD = 6


def allowed_edits(length: int) -> int:
    """How many letters a word of this length may be wrong in: none up to 2, one up to 5, then two."""
    return 0 if length < 3 else 1 if length < LONG_WORD else MAX_EDITS


class Vocabulary:
    """w distinct words as items spell them, most frequent first.

    `words`: the surfaces, normalised, without accents. `counts` int32 (w,): items with the word. `stems` int32 (w,):
    each word's stem as a position in `stem_names`. `pair_keys` uint64 ascending and `pair_counts` int32: stems of one
    title at most `WINDOW` places apart, either way round.
    """

    def __init__(
        self,
        words: Sequence[str],
        counts: NDArray[np.int32],
        stems: NDArray[np.int32],
        stem_names: Sequence[str],
        pairs: tuple[NDArray[np.uint64], NDArray[np.int32]],
        deletions: tuple[NDArray[np.uint64], NDArray[np.int32]],
    ) -> None:
        self.words, self.counts, self.stems, self.stem_names = words, counts, stems, stem_names
        self.pair_keys, self.pair_counts = pairs
        self._hashes, self._owners = deletions

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each word."""
        return {word: position for position, word in enumerate(self.words)}

    @cached_property
    def stem_position(self) -> dict[str, int]:
        """Position of each stem in `stem_names`."""
        return {stem: position for position, stem in enumerate(self.stem_names)}

    @cached_property
    def stem_counts(self) -> NDArray[np.int64]:
        """Items with any word of the stem (a title with two such words counts twice)."""
        return np.bincount(self.stems, self.counts, minlength=len(self.stem_names)).astype(np.int64)

    def count(self, word: str) -> int:
        """Items with this very word."""
        at = self.position.get(word)
        return 0 if at is None else int(self.counts[at])

    def count_of_stem(self, stem: str) -> int:
        """Items with a word of this stem."""
        at = self.stem_position.get(stem)
        return 0 if at is None else int(self.stem_counts[at])

    def words_at(self, positions: NDArray[np.int32]) -> list[str]:
        """The words at these positions."""
        words = self.words
        return [words[at] for at in positions.tolist()]

    def near(self, word: str) -> NDArray[np.int32]:
        """Positions of words that may be meant by `word`; verify their distance."""
        return near_words(word, allowed_edits(len(word)), self._hashes, self._owners)

    def together(self, stems: NDArray[np.int32], other: int) -> NDArray[np.int32]:
        """How many titles have each of `stems` (s,) near the stem `other`, int32 (s,)."""
        keys = pair_key(np.minimum(stems, other), np.maximum(stems, other))
        at = np.searchsorted(self.pair_keys, keys)
        at[at == self.pair_keys.size] = 0
        if not self.pair_keys.size:
            return np.zeros(stems.size, np.int32)
        return np.where(self.pair_keys[at] == keys, self.pair_counts[at], 0).astype(np.int32)

    def merged(self, added: "Vocabulary", analyser: Analyser) -> "Vocabulary":
        """The words and pairs of both, counts summed."""
        counted = Counter(dict(zip(self.words, self.counts.tolist(), strict=True)))
        counted.update(dict(zip(added.words, added.counts.tolist(), strict=True)))
        words, counts, stems, stem_names = _ordered(counted, analyser)
        position = {stem: at for at, stem in enumerate(stem_names)}
        keys, pair_counts = [], []
        for part in (self, added):
            new = np.array([position[stem] for stem in part.stem_names], np.int64)
            left, right = new[part.pair_keys >> np.uint64(32)], new[part.pair_keys & np.uint64(0xFFFFFFFF)]
            keys.append(pair_key(np.minimum(left, right), np.maximum(left, right)))
            pair_counts.append(part.pair_counts)
        distinct, at = np.unique(np.concatenate(keys), return_inverse=True)
        summed = np.bincount(at, np.concatenate(pair_counts), minlength=distinct.size).astype(np.int32)
        return Vocabulary(words, counts, stems, stem_names, (distinct, summed), _deletions(words))

    def write(self, folder: Path) -> None:
        """Store it; `read` maps it into memory."""
        write_strings(folder, "words", *text_column(pa.array(self.words, pa.string())))
        write_strings(folder, "stem_names", *text_column(pa.array(self.stem_names, pa.string())))
        arrays: dict[str, NDArray] = {"word_counts": self.counts, "word_stems": self.stems, "pair_keys": self.pair_keys}
        arrays |= {"pair_counts": self.pair_counts, "deletion_hashes": self._hashes, "deletion_owners": self._owners}
        for name, array in arrays.items():
            write_array(folder, name, array)

    @classmethod
    def read(cls, folder: Path) -> "Vocabulary":
        """Raises CorruptArtefact where a file is missing."""
        words: StringColumn = read_strings(folder, "words")
        return cls(
            words,
            read_array(folder, "word_counts"),
            read_array(folder, "word_stems"),
            read_strings(folder, "stem_names"),
            (read_array(folder, "pair_keys"), read_array(folder, "pair_counts")),
            (read_array(folder, "deletion_hashes"), read_array(folder, "deletion_owners")),
        )

    @classmethod
    def of_texts(cls, texts: Iterable[str], analyser: Analyser, more: Mapping[str, int] | None = None) -> "Vocabulary":
        """The vocabulary of titles; `more`: further surfaces (brands, categories, queries asked) with their counts."""
        return build_vocabulary([surfaces(analyser.tokens(text)) for text in texts], analyser, more)


def surfaces(tokens: Iterable[Token]) -> list[str]:
    """The words among the tokens as they are spelt, units of measure too: what spelling is about."""
    found: list[str] = []
    for token in tokens:
        if token.kind is Kind.WORD:
            found.append(folded(token.text))
        elif token.kind is Kind.MEASURE and token.terms[-1] in units().names:
            found.append(token.terms[-1])
    return found


def build_vocabulary(
    titles: Sequence[Sequence[str]], analyser: Analyser, more: Mapping[str, int] | None = None
) -> Vocabulary:
    """The vocabulary of the words of titles, in order, and of further words with their counts."""
    counted = Counter(word for title in titles for word in dict.fromkeys(title))
    counted.update(more or {})
    ordered, counts, stems, stem_names = _ordered(counted, analyser)
    position = {word: at for at, word in enumerate(ordered)}
    flat = np.array([position[word] for title in titles for word in title], np.int64)
    rows = np.repeat(np.arange(len(titles)), [len(title) for title in titles])
    return Vocabulary(
        ordered,
        counts,
        stems,
        stem_names,
        count_pairs(stems[flat] if flat.size else np.empty(0, np.int32), rows),
        _deletions(ordered),
    )


def _ordered(
    counted: Mapping[str, int], analyser: Analyser
) -> tuple[list[str], NDArray[np.int32], NDArray[np.int32], list[str]]:
    """Words, most frequent first, their counts, their stems' positions, and the stems."""
    ordered = sorted(counted, key=lambda word: (-counted[word], word))
    stem_of = [analyser.stem(word) for word in ordered]
    stem_names = list(dict.fromkeys(stem_of))
    position = {stem: at for at, stem in enumerate(stem_names)}
    counts = np.array([min(counted[word], MOST_ITEMS) for word in ordered], np.int32)
    return ordered, counts, np.array([position[stem] for stem in stem_of], np.int32), stem_names


def _deletions(words: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The index of what the words become with letters left out; one letter more than in the word may be typed."""
    return build_deletions(words, [allowed_edits(len(word) + 1) for word in words])


def count_pairs(stems: NDArray[np.int32], rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Keys, ascending, and counts of pairs of stems at most `WINDOW` apart in a row. Of too many, the frequent ones."""
    keys = []
    for step in range(1, WINDOW + 1):
        same = rows[step:] == rows[:-step]
        left, right = stems[:-step][same], stems[step:][same]
        keys.append(pair_key(np.minimum(left, right), np.maximum(left, right)))
    distinct, counts = np.unique(np.concatenate(keys), return_counts=True)
    if distinct.size > MAX_PAIRS:
        kept = np.sort(np.argpartition(counts, -MAX_PAIRS)[-MAX_PAIRS:])
        distinct, counts = distinct[kept], counts[kept]
    return distinct, counts.astype(np.int32)


def pair_key(smaller: NDArray[np.integer], larger: NDArray[np.integer]) -> NDArray[np.uint64]:
    return (np.asarray(smaller).astype(np.uint64) << np.uint64(32)) | np.asarray(larger).astype(np.uint64)
