"""Arrow's texts as compiled code reads them, and back."""

from itertools import pairwise

import pyarrow as pa
import pytest

from services.profiles.arrow_texts import array_of, texts_of

TEXTS = ["", "a", "zoë 👟", "b" * 300]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(TEXTS),
        pa.array(["x", *TEXTS, "y"]).slice(1, 4),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS).dictionary_encode(),
        pa.array(["", *TEXTS[1:]], pa.string_view()),
    ],
    ids=["plain", "sliced", "large", "dictionary", "view"],
)
def test_texts_come_back_whatever_arrow_keeps_them_as(array: pa.Array) -> None:
    offsets, data = texts_of(array)
    read = [bytes(data[start:end]).decode() for start, end in pairwise(offsets)]
    assert read == array_of(offsets, data).to_pylist() == TEXTS


def test_no_texts_and_null_are_nothing() -> None:
    for array in (pa.array([], pa.string()), pa.array(["a"]).slice(1)):
        assert texts_of(array)[0].tolist() == [0]
    offsets, _ = texts_of(pa.array([None, None], pa.string()))
    assert offsets.tolist() == [0, 0, 0]
