"""Chinese words by jieba's dictionary, loaded when the first Chinese text comes (about a second)."""

import logging
from functools import cache
from typing import Any

MAX_RUN = 512
"""Characters cut up at a time; the cutter's time grows faster than its text."""


def words(text: str) -> list[tuple[int, int]]:
    """Start and end of the words of a run of Han characters: the long ones and the shorter ones inside them."""
    found: list[tuple[int, int]] = []
    for offset in range(0, len(text), MAX_RUN):
        run = text[offset : offset + MAX_RUN]
        found += [(offset + start, offset + end) for _, start, end in _cutter().tokenize(run, mode="search")]
    return found


@cache
def _cutter() -> Any:
    import jieba  # noqa: PLC0415 - a second and 100 MB that only Chinese shops should pay

    jieba.setLogLevel(logging.WARNING)
    cutter = jieba.Tokenizer()
    cutter.initialize()
    return cutter
