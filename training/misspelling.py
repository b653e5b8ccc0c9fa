"""Slips of the finger: queries with one random edit, as people type them."""

import string
from collections.abc import Sequence

import numpy as np

LEAST_LETTERS = 5
EDITS = ("left out", "doubled", "replaced", "put in", "swapped")


def misspelt(queries: Sequence[str], seed: int = 0) -> list[str]:
    """Each query of at least five letters with one edit at one of its letters (Damerau 1964): a letter left out,
    doubled, replaced, put in before it, or swapped with the next. Shorter queries stay as they are."""
    rng = np.random.default_rng(seed)
    return [_edited(query, rng) for query in queries]


def _edited(query: str, rng: np.random.Generator) -> str:
    letters = [at for at, character in enumerate(query) if character.isalpha()]
    if len(letters) < LEAST_LETTERS:
        return query
    at = int(rng.choice(letters))
    edit = EDITS[int(rng.integers(len(EDITS)))]
    letter, other = query[at], str(rng.choice([c for c in string.ascii_lowercase if c != query[at].lower()]))
    if edit == "swapped":
        swaps = [i for i in letters if query[i + 1 : i + 2].isalpha() and query[i + 1].lower() != query[i].lower()]
        if swaps:
            at = int(rng.choice(swaps))
            return query[:at] + query[at + 1] + query[at] + query[at + 2 :]
        edit = "left out"
    made = {"left out": "", "doubled": letter * 2, "replaced": other, "put in": other + letter}[edit]
    return query[:at] + made + query[at + 1 :]
