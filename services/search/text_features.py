"""What the words of a query and a title say about each other, as numbers between about 0 and 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.search.item_terms import ENDING, SAID, ItemTerms
from services.search.word_match import ONE, QueryTerms, WordMatch, match_words

FloatArray = NDArray[np.float32]

K1, B = 1.2, 0.75
FAR = 8
"""Tokens from the end of the name that count as "not there"."""
LONG_TITLE, LONG_QUERY = 20.0, 6.0
LEAST = 1e-6
"""What is divided by is at least this."""


def text_features(
    query: QueryTerms, items: ItemTerms, rows: NDArray[np.int32], wanted: frozenset[str] | None = None
) -> dict[str, FloatArray]:
    """By name (n,): docs/search.md describes each. `rows` int32 (n,): which titles. `wanted`: which features; None:
    all."""
    match = match_words(query, items, rows)
    return {
        name: value()
        for part in (_coverage, _closeness, _order, _head, _title, _numbers, _query)
        for name, value in part(query, items, rows, match).items()
        if wanted is None or name in wanted
    }


Values = dict[str, Callable[[], FloatArray]]
"""How each feature is computed, where it is wanted."""


def _coverage(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """Shares of the query that the title has, by idf, by count, in the name; the most telling word missing and found;
    BM25 (Robertson and Zaragoza 2009) as a share of its ceiling."""
    weights, whole = query.weights, _whole(query)
    lacking = weights[:, None] - match.found * weights[:, None]
    times = np.bitwise_count(match.places) * match.found
    length = (K1 * (1 - B) + K1 * B / items.mean_length * items.lengths[rows]).astype(np.float32)
    return {
        "words_idf": lambda: weights @ match.found / whole,
        "words_share": lambda: _mean(match.found, query.demanded),
        "words_all": lambda: (_least(match.found, query.demanded) > 0).astype(np.float32),
        "named_idf": lambda: weights @ (match.named * match.found) / whole,
        "missing_most": lambda: lacking.max(axis=0) / items.rarest,
        "missing_sum": lambda: np.minimum(lacking.sum(axis=0) / items.rarest, 3) / 3,
        "found_most": lambda: (match.found * weights[:, None]).max(axis=0) / items.rarest,
        "bm25": lambda: weights @ (times / (times + length)) / whole,
    }


def _closeness(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """The same with words that are near in meaning or in spelling."""
    weights, whole = query.weights, _whole(query)
    either = np.maximum(match.meant, match.spelt)
    return {
        "meant_idf": lambda: weights @ match.meant / whole,
        "meant_least": lambda: _least(match.meant, query.demanded),
        "spelt_idf": lambda: weights @ match.spelt / whole,
        "either_idf": lambda: weights @ either / whole,
        "either_least": lambda: _least(either, query.demanded),
    }


def _order(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """Neighbouring words that are neighbours in the title, all of them, and those at most three tokens apart."""
    if len(query) < 2:
        alone = (match.found[0] > 0).astype(np.float32)
        return {name: lambda: alone for name in ("pairs", "phrase", "near")}
    left, right = match.places[:-1], match.places[1:]
    beside = (left & right >> ONE) != 0
    return {
        "pairs": lambda: _mean(beside),
        "phrase": lambda: beside.all(axis=0).astype(np.float32),
        "near": lambda: _mean((left & _around(right)) != 0),
    }


def _around(places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """At most three tokens before or after."""
    around = places >> ONE | places << ONE
    for apart in (np.uint64(2), np.uint64(3)):
        around |= places >> apart | places << apart
    return around


def _head(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """Whether the title names the thing that the query names: in compounds the last word says what it is."""
    head, ends = query.head, items.heads[rows].astype(np.int32) - 1
    places = match.places[head]
    last = np.frexp(places.astype(np.float64))[1] - 1  # the highest bit, −1 without any
    there = last >= 0
    return {
        "head_found": lambda: match.found[head],
        "head_named": lambda: ((places & match.names) != 0).astype(np.float32),
        "head_meant": lambda: match.meant[head],
        "head_is_head": lambda: (there & (last == ends)).astype(np.float32),
        "head_distance": lambda: np.where(there, np.minimum(np.abs(ends - last), FAR), FAR) / FAR,
        "head_rarity": lambda: np.full(len(rows), query.weights[head] / items.rarest),
        "begins_alike": lambda: ((match.places & ONE) != 0).any(axis=0).astype(np.float32),
        "first_found": lambda: match.found[int(np.argmax(query.demanded))],
    }


def _title(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """Shares of the title, and of what it names, that the query speaks of."""
    named_T = match.weights * (match.roles != SAID)
    parts_T = np.stack((match.weights, match.weights * match.covered, named_T, named_T * match.covered))
    whole, covered, name, name_covered = np.add.reduceat(parts_T, match.begins, axis=1)
    name_told = np.add.reduceat(named_T * match.told, match.begins)
    sizes = items.starts[rows + 1] - items.starts[rows]
    return {
        "title_covered": lambda: covered / np.maximum(whole, LEAST),
        "name_covered": lambda: name_covered / np.maximum(name, LEAST),
        "name_told": lambda: name_told / np.maximum(name, LEAST),
        "name_end_told": lambda: np.maximum.reduceat(match.told * (match.roles == ENDING), match.begins),
        "title_length": lambda: np.minimum(items.lengths[rows] / LONG_TITLE, 2),
        "name_length": lambda: np.minimum(items.heads[rows] / LONG_TITLE, 2),
        "title_rarity": lambda: whole / sizes / items.rarest,
    }


def _numbers(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """Numbers, measures and model numbers of the query that the title has, and numbers of it that say otherwise."""
    asked, numbers = query.numeric, items.numbers[rows]
    nothing = np.zeros(len(rows), np.float32)
    has = match.found[asked].mean(axis=0) if asked.any() else nothing
    clash = (1 - has) * (numbers > 0) * np.where(items.measured[rows], 1.0, 0.5) if asked.any() else nothing
    model = match.found[query.model].max(axis=0) if query.model.any() else None
    return {
        "query_numbers": lambda: np.full(len(rows), min(float(asked.sum()), 3) / 3),
        "numbers_found": lambda: has,
        "numbers_clash": lambda: clash,
        "model_found": lambda: nothing if model is None else model,
        "model_missing": lambda: nothing if model is None else 1 - model,
        "title_numbers": lambda: np.minimum(numbers, 6) / 6,
    }


def _query(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> Values:
    """What the query is like, the same for all titles; and how near the titles' meaning is to its own."""
    return {
        "latent_cosine": lambda: _latent(query, items, rows),
        "query_words": lambda: np.full(len(rows), query.demanded.sum() / LONG_QUERY),
        "query_rarity": lambda: np.full(len(rows), float(_mean(query.weights, query.demanded)) / items.rarest),
        "query_unknown": lambda: np.full(len(rows), float((query.first < 0).mean())),
    }


def _latent(query: QueryTerms, items: ItemTerms, rows: NDArray[np.int32]) -> FloatArray:
    """Cosine of the query's idf-weighted meaning with the title's."""
    vector = query.weights @ query.meaning
    return items.item_meaning[rows] @ (vector / max(float(np.linalg.norm(vector)), 1e-9))


def _whole(query: QueryTerms) -> float:
    """What all words of the query weigh."""
    return max(float(query.weights.sum()), LEAST)


def _mean(values: NDArray, chosen: NDArray[np.bool_] | None = None) -> FloatArray:
    """Mean along the first axis, over the chosen rows where there are any."""
    if chosen is not None and chosen.any():
        values = values[chosen]
    return values.mean(axis=0, dtype=np.float32)


def _least(values: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    return (values[chosen] if chosen.any() else values).min(axis=0)
