"""What people who asked a query took: from a query to items, each with a weight that fades.

A worker sums it up (`services.db.query_feedback`) and publishes it as one file; serving processes notice and load it.
"""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact
from services.features.item_ids import digests
from services.features.snapshot import ItemSnapshot

FILE = "query_memory.npz"
HALF_SURE = np.float32(10.0)
"""The weight at which a strength is one half: a little more than one purchase of today."""
KEY_LENGTH = 200
"""Characters of a query that are counted: what is longer is counted under its beginning."""
NOTHING = (np.empty(0, np.int32), np.empty(0, np.float32))


def query_key(searched: str) -> str:
    """The form under which equal queries are counted and remembered: as they are searched for, in lower case."""
    return " ".join(searched.casefold().split())[:KEY_LENGTH]


@dataclass(frozen=True)
class QueryMemory:
    """q queries by the digests of their normalised texts, uint64 (q,), ascending; `start` int64 (q + 1,) leads into
    `item` int32 (codes of `item_ids`) and `weight` float32, the heaviest first."""

    queries: NDArray[np.uint64]
    start: NDArray[np.int64]
    item: NDArray[np.int32]
    weight: NDArray[np.float32]
    item_ids: list[str]

    def __len__(self) -> int:
        return self.queries.size

    @classmethod
    def of(cls, pairs: pa.Table) -> "QueryMemory":
        """From a table of `query`, `item_id`, `weight`, each pair once."""
        query = pairs["query"].combine_chunks().dictionary_encode()
        item = pairs["item_id"].combine_chunks().dictionary_encode()
        weight = pairs["weight"].to_numpy().astype(np.float32)
        keys = digests(query.dictionary.to_pylist())
        by_key = np.argsort(keys, kind="stable")
        place = np.empty(keys.size, np.int64)
        place[by_key] = np.arange(keys.size)
        of_query = place[query.indices.to_numpy()]
        order = np.lexsort((item.indices.to_numpy(), -weight, of_query))
        start = np.searchsorted(of_query[order], np.arange(keys.size + 1))
        codes = item.indices.to_numpy().astype(np.int32)[order]
        return cls(keys[by_key], start, codes, weight[order], item.dictionary.to_pylist())

    def write(self, search: Path) -> Path:
        """Publish it under the folder of search, atomically."""
        search.mkdir(parents=True, exist_ok=True)
        temporary = search / f".{FILE}.{uuid.uuid4().hex[:8]}"
        ids = np.frombuffer("\n".join(self.item_ids).encode(), np.uint8)
        with temporary.open("wb") as file:
            np.savez(file, queries=self.queries, start=self.start, item=self.item, weight=self.weight, item_ids=ids)
        os.replace(temporary, search / FILE)  # noqa: PTH105 - the atomic rename is the point
        return search / FILE

    @classmethod
    def read(cls, search: Path) -> "QueryMemory | None":
        """What was published last; None before the first.

        Raises:
            CorruptArtefact: the file cannot be read.
        """
        try:
            with np.load(search / FILE, allow_pickle=False) as found:
                text = found["item_ids"].tobytes().decode()
                ids = text.split("\n") if text else []
                return cls(found["queries"], found["start"], found["item"], found["weight"], ids)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise CorruptArtefact(f"{search / FILE} cannot be read: run `portrait search rebuild`") from error


class BoundMemory:
    """A memory with its items as rows of one snapshot."""

    def __init__(self, memory: QueryMemory, snapshot: ItemSnapshot) -> None:
        self._memory = memory
        self._row = snapshot.indices(memory.item_ids)

    def __len__(self) -> int:
        return len(self._memory)

    def items_of(self, query: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows of the snapshot int32 (n,) and weights float32 (n,), the heaviest first; both empty for a query that
        nobody asked. A weight is a sum of events: a click counts 1 on its day, a purchase 8."""
        memory = self._memory
        key = digests([query])[0]
        place = int(np.searchsorted(memory.queries, key))
        if place == len(memory) or memory.queries[place] != key:
            return NOTHING
        part = slice(memory.start[place], memory.start[place + 1])
        rows = self._row[memory.item[part]]
        known = rows >= 0
        return rows[known], memory.weight[part][known]

    def strengths(self, query: str, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 (n,) of rows in ascending order: 0 for what nobody took after asking this, towards 1 the more did."""
        strengths = np.zeros(rows.size, np.float32)
        taken, weights = self.items_of(query)
        if rows.size and taken.size:
            place = np.minimum(np.searchsorted(rows, taken), rows.size - 1)
            held = rows[place] == taken
            strengths[place[held]] = weights[held] / (weights[held] + HALF_SURE)
        return strengths
