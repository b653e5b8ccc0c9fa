"""Hashed n-grams of many texts at once: no loop over texts, words or characters.

Texts are joined into one array of code points. Prefix sums of a polynomial in 64-bit wrapping arithmetic give the hash
of any span by one subtraction and one multiplication (Karp & Rabin 1987), so words and characters cost the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

BASE = np.uint64(0x9E3779B97F4A7C15)
BASE_INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
PAIR = np.uint64(0xC2B2AE3D27D4EB4F)
SEPARATOR = "\n"


@dataclass(frozen=True)
class NgramConfig:
    """`unit` is what an n-gram is made of; n-grams of 1 to `longest` units hash into 2^`bits` buckets."""

    unit: Literal["word", "character"] = "word"
    longest: int = 2
    bits: int = 20


@dataclass(frozen=True)
class NgramCounts:
    """Sparse counts: text `row` (k,) holds n-grams of `bucket` (k,) `count` (k,) times; rows ascend."""

    row: np.ndarray
    bucket: np.ndarray
    count: np.ndarray
    texts: int


def count_ngrams(texts: Sequence[str], config: NgramConfig) -> NgramCounts:
    """N-gram counts of lower-cased texts. Punctuation, spaces and line ends separate words and are no characters."""
    if not texts:
        empty = np.zeros(0, dtype=np.int64)
        return NgramCounts(empty, empty, empty.astype(np.float32), 0)
    joined = SEPARATOR.join([text.replace(SEPARATOR, " ") for text in texts]).lower()
    codes = np.frombuffer(joined.encode("utf-32-le", "replace"), dtype=np.uint32)
    owner = np.cumsum(codes == ord(SEPARATOR))
    kept = _letters(codes)
    if config.unit == "word":
        starts, ends = _runs(kept)
    else:
        starts = np.flatnonzero(kept)
        ends = starts + 1
    unit_hash = _span_hashes(codes, starts, ends)
    return _count(unit_hash, owner[starts], config, len(texts))


def _letters(codes: np.ndarray) -> np.ndarray:
    """Which code points are part of a word: letters and digits of any script, the apostrophe, ! and ?."""
    unique, inverse = np.unique(codes, return_inverse=True)
    is_letter = np.fromiter((chr(code).isalnum() or chr(code) in "'!?" for code in unique), bool, len(unique))
    return is_letter[inverse]


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.view(np.int8), [0]))))
    return edges[::2], edges[1::2]


def _span_hashes(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    powers = np.cumprod(np.full(len(codes), BASE, dtype=np.uint64))
    sums = np.concatenate(([np.uint64(0)], np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers)))
    shift = np.cumprod(np.full(len(codes) + 1, BASE_INVERSE, dtype=np.uint64))
    return (sums[ends] - sums[starts]) * shift[starts]


def _count(unit_hash: np.ndarray, owner: np.ndarray, config: NgramConfig, texts: int) -> NgramCounts:
    rows, buckets = [], []
    gram = unit_hash
    for n in range(1, config.longest + 1):
        if n > 1:
            gram = gram[:-1] * PAIR + unit_hash[n - 1 :]
            same = owner[: len(gram)] == owner[n - 1 :]
        else:
            same = np.ones(len(gram), dtype=bool)
        rows.append(owner[: len(gram)][same])
        buckets.append(_fold(gram[same] + np.uint64(n), config.bits))
    key = (np.concatenate(rows).astype(np.int64) << config.bits) | np.concatenate(buckets).astype(np.int64)
    key, count = np.unique(key, return_counts=True)
    return NgramCounts(key >> config.bits, key & ((1 << config.bits) - 1), count.astype(np.float32), texts)


def _fold(value: np.ndarray, bits: int) -> np.ndarray:
    """The top bits of a mixed 64-bit hash (the finaliser of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (value ^ (value >> np.uint64(31))) >> np.uint64(64 - bits)
