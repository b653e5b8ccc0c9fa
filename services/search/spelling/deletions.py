"""Finds the words within a few edits of another by what both become when letters are left out.

Symmetric deletion (Garbe, SymSpell, 2012): two words within d edits share a form with at most d letters deleted. Only
the first `PREFIX` letters are varied, so a word has at most 29 forms; what is found is verified by its true distance.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import xxhash
from numpy.typing import NDArray

PREFIX = 7
MAX_EDITS = 2
_digest = xxhash.xxh3_64_intdigest


def deletion_forms(word: str, edits: int) -> set[str]:
    """The word's first `PREFIX` letters with at most `edits` of them left out."""
    head = word[:PREFIX]
    forms = {head}
    for count in range(1, min(edits, len(head) - 1) + 1):
        forms.update("".join(kept) for kept in combinations(head, len(head) - count))
    return forms


def build_deletions(words: Sequence[str], edits: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Hashes of all forms, ascending, and whose each is (the word's position). `edits`: how many each may differ in."""
    hashes: list[int] = []
    owners: list[int] = []
    for position, (word, allowed) in enumerate(zip(words, edits, strict=True)):
        forms = deletion_forms(word, allowed)
        hashes += [_digest(form.encode()) for form in forms]
        owners += [position] * len(forms)
    keys = np.array(hashes, np.uint64)
    order = np.argsort(keys, kind="stable")
    return keys[order], np.array(owners, np.int32)[order]


def near_words(word: str, edits: int, hashes: NDArray[np.uint64], owners: NDArray[np.int32]) -> NDArray[np.int32]:
    """Positions of the words that may be within `edits` of `word`, ascending; some are farther away."""
    forms = np.array([_digest(form.encode()) for form in deletion_forms(word, edits)], np.uint64)
    starts, ends = np.searchsorted(hashes, forms, "left"), np.searchsorted(hashes, forms, "right")
    found = [owners[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True) if end > start]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int32)
