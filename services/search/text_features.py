"""What the words of a query and a title say about each other, as numbers between about 0 and 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.search.item_terms import NUMBER, UNIT, ItemTerms
from services.search.word_match import QueryTerms, WordMatch, match_words

FloatArray = NDArray[np.float32]

K1, B = 1.2, 0.75
FAR = 8
"""Tokens from the end of the name that count as "not there"."""
LONG_TITLE, LONG_QUERY = 20.0, 6.0


def text_features(query: QueryTerms, items: ItemTerms, rows: NDArray[np.int32]) -> dict[str, FloatArray]:
    """By name (n,): docs/search.md describes each. `rows` int32 (n,): which titles."""
    match = match_words(query, items, rows)
    found: dict[str, FloatArray] = {}
    for part in (_coverage, _closeness, _order, _head, _title, _numbers):
        found |= part(query, items, rows, match)
    found["latent_cosine"] = _latent(query, items, rows)
    found["query_words"] = np.full(len(rows), query.demanded.sum() / LONG_QUERY)
    found["query_rarity"] = np.full(len(rows), _mean(query.weights, query.demanded) / items.rarest)
    found["query_unknown"] = np.full(len(rows), float((query.first < 0).mean()))
    return found


Part = Callable[[QueryTerms, ItemTerms, NDArray[np.int32], WordMatch], dict[str, FloatArray]]


def _coverage(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> dict[str, FloatArray]:
    """Shares of the query that the title has, by idf, by count, in the name; the most telling word missing and found;
    BM25 (Robertson and Zaragoza 2009) as a share of its ceiling."""
    whole = max(float(query.weights.sum()), 1e-6)
    lacking = (1 - match.found) * query.weights
    times = match.placed.sum(axis=2) * match.found
    length = K1 * (1 - B + B * items.lengths[rows] / items.mean_length)
    return {
        "words_idf": match.found @ query.weights / whole,
        "words_share": _mean(match.found, query.demanded),
        "words_all": (_least(match.found, query.demanded) > 0).astype(np.float32),
        "named_idf": (match.named * match.found) @ query.weights / whole,
        "missing_most": lacking.max(axis=1) / items.rarest,
        "missing_sum": np.minimum(lacking.sum(axis=1) / items.rarest, 3) / 3,
        "found_most": (match.found * query.weights).max(axis=1) / items.rarest,
        "bm25": (times * query.weights * (K1 + 1) / (times + length[:, None])).sum(axis=1) / (whole * (K1 + 1)),
    }


def _closeness(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> dict[str, FloatArray]:
    """The same with words that are near in meaning or in spelling."""
    whole = max(float(query.weights.sum()), 1e-6)
    either = np.maximum(match.meant, match.spelt)
    return {
        "meant_idf": match.meant @ query.weights / whole,
        "meant_least": _least(match.meant, query.demanded),
        "spelt_idf": match.spelt @ query.weights / whole,
        "either_idf": either @ query.weights / whole,
        "either_least": _least(either, query.demanded),
    }


def _order(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> dict[str, FloatArray]:
    """Neighbouring words that are neighbours in the title, all of them, and those at most three tokens apart."""
    if len(query) < 2:
        alone = (match.found[:, 0] > 0).astype(np.float32)
        return {"pairs": alone, "phrase": alone, "near": alone}
    left, right = match.placed[:, :-1], match.placed[:, 1:]
    beside = (left[:, :, :-1] & right[:, :, 1:]).any(axis=2)
    near = beside.copy()
    for apart in (1, 2, 3):
        near |= (left[:, :, :-apart] & right[:, :, apart:]).any(axis=2)
        near |= (left[:, :, apart:] & right[:, :, :-apart]).any(axis=2)
    return {"pairs": _mean(beside), "phrase": beside.all(axis=1).astype(np.float32), "near": _mean(near)}


def _head(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> dict[str, FloatArray]:
    """Whether the title names the thing that the query names: in compounds the last word says what it is."""
    head, ends = query.head, items.heads[rows].astype(np.int64) - 1
    places = match.placed[:, head]
    last = np.where(places.any(axis=1), places.shape[1] - 1 - places[:, ::-1].argmax(axis=1), -1)
    there = last >= 0
    return {
        "head_found": match.found[:, head],
        "head_named": match.named[:, head].astype(np.float32),
        "head_meant": match.meant[:, head],
        "head_is_head": (there & (last == ends)).astype(np.float32),
        "head_distance": np.where(there, np.minimum(np.abs(ends - last), FAR), FAR) / FAR,
        "head_rarity": np.full(len(rows), query.weights[head] / items.rarest),
        "begins_alike": match.placed[:, :, 0].any(axis=1).astype(np.float32),
        "first_found": match.found[:, int(np.argmax(query.demanded))],
    }


def _title(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> dict[str, FloatArray]:
    """Shares of the title, and of what it names, that the query speaks of."""
    weights, named = match.term_weights, match.term_weights * match.in_name
    tokens = items.tokens[rows][:, : match.in_name.shape[1]]
    at_end = match.in_name & (tokens == items.heads[rows][:, None] - 1)
    return {
        "title_covered": _share(match.covered, weights),
        "name_covered": _share(match.covered, named),
        "name_told": _share(match.told, named),
        "name_end_told": np.where(at_end, match.told, 0).max(axis=1, initial=0),
        "title_length": np.minimum(items.lengths[rows] / LONG_TITLE, 2),
        "name_length": np.minimum(items.heads[rows] / LONG_TITLE, 2),
        "title_rarity": weights.sum(axis=1) / np.maximum((items.codes[rows] >= 0).sum(axis=1), 1) / items.rarest,
    }


def _numbers(query: QueryTerms, items: ItemTerms, rows: NDArray, match: WordMatch) -> dict[str, FloatArray]:
    """Numbers, measures and model numbers of the query that the title has, and numbers of it that say otherwise."""
    asked, kinds = query.numeric, items.kinds[rows]
    numbers = (kinds == NUMBER).sum(axis=1)
    has_unit = (kinds == UNIT).any(axis=1)
    nothing = np.zeros(len(rows), np.float32)
    wanting = np.maximum(1 - match.found[:, asked], 0).mean(axis=1) if asked.any() else nothing
    return {
        "query_numbers": np.full(len(rows), min(float(asked.sum()), 3) / 3),
        "numbers_found": match.found[:, asked].mean(axis=1) if asked.any() else nothing,
        "numbers_clash": wanting * (numbers > 0) * np.where(has_unit, 1.0, 0.5),
        "model_found": match.found[:, query.model].max(axis=1) if query.model.any() else nothing,
        "model_missing": 1 - match.found[:, query.model].max(axis=1) if query.model.any() else nothing,
        "title_numbers": np.minimum(numbers, 6) / 6,
    }


def _latent(query: QueryTerms, items: ItemTerms, rows: NDArray[np.int32]) -> FloatArray:
    """Cosine of the query's idf-weighted meaning with the title's."""
    vector = query.weights @ query.meaning
    return items.item_meaning[rows] @ (vector / max(float(np.linalg.norm(vector)), 1e-9))


def _mean(values: NDArray, chosen: NDArray[np.bool_] | None = None) -> FloatArray:
    """Mean along the last axis, over the chosen columns where there are any."""
    if chosen is not None and chosen.any():
        values = values[..., chosen]
    return values.mean(axis=-1)


def _least(values: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    return (values[:, chosen] if chosen.any() else values).min(axis=1)


def _share(part: NDArray, weights: FloatArray) -> FloatArray:
    return (part * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-6)
