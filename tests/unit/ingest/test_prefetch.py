"""Working ahead changes neither values, nor order, nor errors."""

import threading
from contextlib import closing

import pytest

from services.ingest.prefetch import prefetch


def test_values_come_in_order():
    assert list(prefetch(range(100))) == list(range(100))


def test_an_error_comes_after_the_values_before_it():
    def values():
        yield 1
        raise LookupError("broken")

    seen = []
    with pytest.raises(LookupError, match="broken"):
        seen.extend(prefetch(values()))
    assert seen == [1]


def test_closing_early_ends_the_thread():
    before = threading.active_count()
    with closing(prefetch(iter(int, 1))) as values:
        next(values)
    assert threading.active_count() == before
