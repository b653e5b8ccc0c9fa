"""Word tables as arrays: for each field and term the items that have it and how often.

Terms are known by 64-bit hashes (xxHash3): no dictionary of millions of texts in every process; two of a million terms
share a hash with a probability of 3·10⁻⁸.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from services.features.snapshot_files import read_array, write_array
from services.search.config import FIELDS
from services.search.text.analyser import Token

MOST_REPEATED = 255


def term_hash(term: str) -> int:
    """The 64-bit hash a term is known by."""
    return xxhash.xxh3_64_intdigest(term.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Occurrences:
    """One field's terms: `hashes` uint64, `rows` int32, `counts` uint8 (o,), each pair once; `lengths` int32 (m,)."""

    hashes: NDArray[np.uint64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint8]
    lengths: NDArray[np.int32]


@dataclass(frozen=True)
class FieldPostings:
    """One field in the order of all fields' terms: items of term t are `rows[indptr[t]:indptr[t + 1]]`, ascending."""

    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint8]
    lengths: NDArray[np.int32]


@dataclass(frozen=True)
class Postings:
    """`terms` uint64 ascending: the hashes of all terms of any field."""

    terms: NDArray[np.uint64]
    fields: dict[str, FieldPostings]

    def occurrences(self) -> dict[str, Occurrences]:
        """The tables as they are merged with others."""
        return {
            name: Occurrences(np.repeat(self.terms, np.diff(field.indptr)), field.rows, field.counts, field.lengths)
            for name, field in self.fields.items()
        }

    def write(self, folder: Path) -> None:
        write_array(folder, "terms", self.terms)
        for name, field in self.fields.items():
            for part in ("indptr", "rows", "counts", "lengths"):
                write_array(folder, f"{name}_{part}", getattr(field, part))

    @classmethod
    def read(cls, folder: Path) -> "Postings":
        """Raises CorruptArtefact where a file is missing."""
        parts = ("indptr", "rows", "counts", "lengths")
        fields = {name: FieldPostings(*(read_array(folder, f"{name}_{part}") for part in parts)) for name in FIELDS}
        return cls(read_array(folder, "terms"), fields)


def count_terms(tokens: Sequence[Sequence[Token]]) -> Occurrences:
    """The terms of one field of m items."""
    terms = pa.array([term for item in tokens for token in item for term in token.terms], pa.string())
    sizes = np.array([sum(len(token.terms) for token in item) for item in tokens], np.int64)
    encoded = terms.dictionary_encode()
    known = hashes_of(encoded.dictionary.to_pylist())
    hashes = known[encoded.indices.to_numpy(zero_copy_only=False)] if len(known) else np.empty(0, np.uint64)
    rows = np.repeat(np.arange(len(tokens), dtype=np.int32), sizes)
    order = np.lexsort((rows, hashes))
    hashes, rows = hashes[order], rows[order]
    first = np.ones(hashes.size, bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
    starts = first.nonzero()[0]
    counts = np.diff(np.append(starts, hashes.size))
    capped = np.minimum(counts, MOST_REPEATED).astype(np.uint8)
    return Occurrences(hashes[starts], rows[starts], capped, sizes.astype(np.int32))


def hashes_of(terms: Iterable[str]) -> NDArray[np.uint64]:
    """`term_hash` of each term."""
    return np.array([term_hash(term) for term in terms], np.uint64)


def merged(
    old: Occurrences, old_rows: NDArray[np.int32], new: Occurrences, new_rows: NDArray[np.int32], count: int
) -> Occurrences:
    """Both in one numbering of `count` items: the new row of each old and new item, −1 for those that went."""
    rows = old_rows[old.rows]
    kept = rows >= 0
    lengths = np.zeros(count, np.int32)
    lengths[old_rows[old_rows >= 0]] = old.lengths[old_rows >= 0]
    lengths[new_rows] = new.lengths
    return Occurrences(
        np.concatenate((old.hashes[kept], new.hashes)),
        np.concatenate((rows[kept], new_rows[new.rows])),
        np.concatenate((old.counts[kept], new.counts)),
        lengths,
    )


def postings_of(fields: dict[str, Occurrences]) -> Postings:
    """The tables of all fields over one list of terms."""
    terms = np.unique(np.concatenate([field.hashes for field in fields.values()]))
    return Postings(terms, {name: _by_term(field, terms) for name, field in fields.items()})


def _by_term(field: Occurrences, terms: NDArray[np.uint64]) -> FieldPostings:
    order = np.lexsort((field.rows, field.hashes))
    indptr = np.append(np.searchsorted(field.hashes[order], terms), field.hashes.size).astype(np.int64)
    return FieldPostings(indptr, field.rows[order], field.counts[order], field.lengths)
