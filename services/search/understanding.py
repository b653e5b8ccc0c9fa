"""A query as search understands it: its words, what else they may be called, and what of the shop they name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Alternative:
    """One way to say a word: an analysed `term` and what a match with it counts against the word itself, 0–1.

    `beside`: further terms that must occur in the same field ("ac" said as "air" beside "condition").
    """

    term: str
    weight: float = 1.0
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueryWord:
    """One word of the query, as asked (`text`, after correction) and as searched.

    `alternatives`: the terms any of which finds it, the word's own first. `optional`: a word too common to demand.
    `kind`: "word", "number", "measure" (number with unit), "model" (letters and digits) or "cjk".
    """

    text: str
    alternatives: tuple[Alternative, ...]
    kind: str = "word"
    optional: bool = False


@dataclass(frozen=True)
class Demand:
    """Something an operator asks for: `terms` side by side, in `field` (None: any); `excluded`: must not occur."""

    terms: tuple[str, ...]
    field: str | None = None
    excluded: bool = False


@dataclass(frozen=True)
class UnderstoodQuery:
    """`text`: what was typed, cleaned. `searched`: what is searched for (`text`, or its correction).

    `corrected`: the correction where one was applied, `did_you_mean`: one that is only offered. `categories`, `brands`:
    codes in the snapshot that the query means, with how surely (0–1), surest first. `specificity`: 0 (a department) to
    1 (a model number): how exactly the query says what is wanted.
    """

    text: str
    searched: str
    words: tuple[QueryWord, ...]
    corrected: str | None = None
    did_you_mean: str | None = None
    categories: tuple[tuple[int, float], ...] = ()
    brands: tuple[tuple[int, float], ...] = ()
    specificity: float = 0.0
    demands: tuple[Demand, ...] = ()
