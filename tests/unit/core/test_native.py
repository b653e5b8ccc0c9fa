"""Functions compiled for the types of their arguments."""

import numpy as np
import pytest

from services.core.native import native, read, written


@native(read(np.float64), np.float64, written(np.float64))
def scaled(values, factor, into):
    for at in range(len(values)):
        into[at] = values[at] * factor


def test_arrays_that_cannot_be_written_to_are_read():
    values, into = np.array([1.0, 2.0]), np.zeros(2)
    values.setflags(write=False)
    scaled(values, 3, into)
    assert into.tolist() == [3.0, 6.0]
    scaled(into, 2.0, into)
    assert into.tolist() == [6.0, 12.0]


def test_other_types_are_refused_rather_than_compiled_for():
    with pytest.raises(TypeError, match="No matching definition"):
        scaled(np.zeros(2, np.float32), 1.0, np.zeros(2))
    frozen = np.zeros(2)
    frozen.setflags(write=False)
    with pytest.raises(TypeError, match="No matching definition"):
        scaled(np.zeros(2), 1.0, frozen)
