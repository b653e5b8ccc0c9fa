"""What people took after a query: written, read and looked up by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from services.core.errors import CorruptArtefact
from services.search.query_memory import FILE, BoundMemory, QueryMemory

PAIRS = pa.table(
    {
        "query": ["lamp", "lamp", "灯", "lamp", "sofa"],
        "item_id": ["a", "b", "b", "gone", "c"],
        "weight": [1.0, 10.0, 3.0, 99.0, 0.5],
    }
)


class Snapshot:
    """Three items."""

    def indices(self, ids: list[str]) -> np.ndarray:
        return np.array([{"a": 0, "b": 1, "c": 2}.get(item, -1) for item in ids], np.int32)


@pytest.fixture
def bound(tmp_path: Path) -> BoundMemory:
    QueryMemory.of(PAIRS).write(tmp_path / "search")
    memory = QueryMemory.read(tmp_path / "search")
    assert memory is not None
    return BoundMemory(memory, Snapshot())


@pytest.mark.parametrize(
    ("query", "expected"),
    [("lamp", [(1, 10.0), (0, 1.0)]), ("灯", [(1, 3.0)]), ("sofa", [(2, 0.5)]), ("rug", []), ("", [])],
)
def test_items_come_heaviest_first_without_those_that_are_gone(bound: BoundMemory, query: str, expected: list):
    rows, weights = bound.items_of(query)
    assert list(zip(rows.tolist(), weights.tolist(), strict=True)) == expected


def test_strengths_follow_the_rows_asked_for(bound: BoundMemory):
    assert bound.strengths("lamp", np.array([0, 2], np.int32)).tolist() == pytest.approx([1 / 11, 0])
    assert bound.strengths("lamp", np.array([1, 2], np.int32)).tolist() == pytest.approx([0.5, 0])
    assert bound.strengths("rug", np.array([0, 1], np.int32)).tolist() == [0, 0]
    assert bound.strengths("lamp", np.array([], np.int32)).tolist() == []


def test_nothing_is_known_before_the_first_and_nothing_of_no_pairs(tmp_path: Path):
    assert QueryMemory.read(tmp_path) is None
    QueryMemory.of(PAIRS.slice(0, 0)).write(tmp_path)
    memory = QueryMemory.read(tmp_path)
    assert memory is not None and len(memory) == 0
    assert BoundMemory(memory, Snapshot()).items_of("lamp")[0].size == 0


@pytest.mark.parametrize("damaged", [b"PK\x03\x04 no archive", b"no archive", b""])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, damaged: bytes):
    (tmp_path / FILE).write_bytes(damaged)
    with pytest.raises(CorruptArtefact, match="portrait search rebuild"):
        QueryMemory.read(tmp_path)
