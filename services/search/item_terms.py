"""What ranking knows of the items' titles: their terms in order, and what each term means by the company it keeps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from services.features.arrow_columns import text_column
from services.features.snapshot_files import read_array, read_strings, write_array, write_strings

FloatArray = NDArray[np.float32]
PREFIX = "rank-"


@dataclass(frozen=True)
class ItemTerms:
    """n titles, v distinct terms, K dimensions. The titles' t terms lie one title after the other.

    `starts` int64 (n + 1,): where each title's terms begin. Of each term `codes` int32 (t,); `tokens` int8 (t,): which
    token it is of, below 64 (a measure is one token of several terms); `roles` int8 (t,): `ROLES`; `weights` float32
    (t,): how much it tells, little for stop words and for units, whose number has said it. A title without terms has
    one of code −1 and weight 0.
    `lengths` int16 (n,): tokens. `heads` int16 (n,): the token after those that name the thing, before a word such as
    "with" or "for". `numbers` int16 (n,): terms that are numbers; `measured` bool (n,): whether one has a unit.
    `idf` float32 (v,): how telling a term is (BM25). `signatures` uint64 (v, 4).
    `meaning` float32 (v, K): unit vectors of the terms, `item_meaning` float32 (n, K): of the titles. Zero where
    nothing is known.
    """

    terms: Sequence[str]
    starts: NDArray[np.int64]
    codes: NDArray[np.int32]
    tokens: NDArray[np.int8]
    roles: NDArray[np.int8]
    weights: FloatArray
    lengths: NDArray[np.int16]
    heads: NDArray[np.int16]
    numbers: NDArray[np.int16]
    measured: NDArray[np.bool_]
    idf: FloatArray
    signatures: NDArray[np.uint64]
    meaning: FloatArray
    item_meaning: FloatArray

    @cached_property
    def code(self) -> Mapping[str, int]:
        """Code of each term."""
        return {term: code for code, term in enumerate(self.terms)}

    @cached_property
    def spelling_size(self) -> FloatArray:
        """float32 (v,): the root of how many bits each signature has."""
        return np.sqrt(np.maximum(np.bitwise_count(self.signatures).sum(axis=1), 1)).astype(np.float32)

    @cached_property
    def mean_length(self) -> float:
        """Tokens of a title on average."""
        return max(float(self.lengths.mean()), 1.0) if len(self.lengths) else 1.0

    @cached_property
    def rarest(self) -> float:
        """The idf of a term that no title has."""
        return float(np.log(2 * len(self.lengths) + 2))

    def save(self, folder: Path) -> None:
        """Write the files beside those of the search index."""
        write_strings(folder, PREFIX + "terms", *text_column(pa.array(list(self.terms), pa.string())))
        for name in ARRAYS:
            write_array(folder, PREFIX + name, getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> "ItemTerms":
        """Map the files that `save` wrote."""
        return cls(
            read_strings(folder, PREFIX + "terms"), **{name: read_array(folder, PREFIX + name) for name in ARRAYS}
        )


ARRAYS = tuple(field.name for field in fields(ItemTerms) if field.name != "terms")
SAID, NAMING, ENDING = range(3)
"""`roles`: of a token that is said of the thing, that names it, that is the last to name it."""


SIGNATURE_BITS, SIGNATURE_WORDS = 256, 4


def spelling_signatures(terms: Iterable[str]) -> NDArray[np.uint64]:
    """uint64 (n, 4): each term's letter triples, its ends marked, hashed to 256 bits. Alike spellings share bits."""
    rows = []
    for term in terms:
        marked, bits = f"^{term}$", 0
        for at in range(max(len(marked) - 2, 1)):
            bits |= 1 << (
                xxhash.xxh3_64_intdigest(marked[at : at + 3].encode("utf-8", "surrogatepass")) % SIGNATURE_BITS
            )
        rows.append(bits.to_bytes(SIGNATURE_BITS // 8, "little"))
    return np.frombuffer(b"".join(rows), "<u8").reshape(-1, SIGNATURE_WORDS).astype(np.uint64)
