"""How the words of a query are found in its candidates' titles: exactly, by meaning, by spelling, in which order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search.item_terms import NUMBER, STOP, UNIT, ItemTerms, spelling_signatures
from services.search.understanding import UnderstoodQuery

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

OPTIONAL_WEIGHT = 0.1
"""What a word too common to demand counts beside one that is demanded."""
SAME = 0.5
"""An alternative that counts at least this much says the same: it stands where the word would."""


@dataclass(frozen=True)
class QueryTerms:
    """The q words of a query in a catalogue's numbers.

    `weights` float32 (q,): idf. `demanded`, `spoken`, `numeric`, `model` bool (q,): not optional; a word of a language;
    a number, measure or size; a model number. `alternatives` int32 (a,): codes, −2 where no title has it, `strengths`
    float32 (a,), `starts` int64 (q,): where each word's begin, `first` int32 (q,): the code of each word itself.
    `meaning` float32 (q, K), `signatures` uint64 (q, 4). `head`: the word that names the thing.
    """

    weights: FloatArray
    demanded: BoolArray
    spoken: BoolArray
    numeric: BoolArray
    model: BoolArray
    alternatives: NDArray[np.int32]
    strengths: FloatArray
    starts: NDArray[np.int64]
    first: NDArray[np.int32]
    meaning: FloatArray
    signatures: NDArray[np.uint64]
    head: int

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def of(cls, query: UnderstoodQuery, items: ItemTerms) -> "QueryTerms":
        """The words of a query, which has at least one."""
        words = query.words
        flat = [alternative for word in words for alternative in word.alternatives]
        sizes = [len(word.alternatives) for word in words]
        codes = np.array([items.code.get(alternative.term, -2) for alternative in flat], np.int32)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
        rarity = np.where(codes >= 0, _of_terms(items.idf, codes), items.rarest)
        demanded = np.array([not word.optional for word in words])
        kinds = [word.kind for word in words]
        spoken = np.array([kind in ("word", "cjk") for kind in kinds])
        first = codes[starts]
        return cls(
            weights=np.where(demanded, rarity[starts], OPTIONAL_WEIGHT * rarity[starts]).astype(np.float32),
            demanded=demanded,
            spoken=spoken,
            numeric=np.array([kind in ("number", "measure", "size") for kind in kinds]),
            model=np.array([kind == "model" for kind in kinds]),
            alternatives=codes,
            strengths=np.array([alternative.weight for alternative in flat], np.float32),
            starts=starts,
            first=first,
            meaning=np.where(((first >= 0) & spoken)[:, None], _of_terms(items.meaning, first), 0),
            signatures=spelling_signatures([word.alternatives[0].term for word in words]),
            head=_head(demanded, spoken),
        )


def _of_terms(table: NDArray, codes: NDArray[np.int32]) -> NDArray:
    """The rows of these terms; what stands for a code below 0 is to be left out."""
    return table[np.maximum(codes, 0)] if len(table) else np.zeros((*codes.shape, *table.shape[1:]), table.dtype)


def _head(demanded: BoolArray, spoken: BoolArray) -> int:
    """The last word before the first optional one ("brackets for shelves"): what English-like queries ask for."""
    stops = np.flatnonzero(~demanded)
    end = stops[stops > 0][0] if (stops > 0).any() else len(demanded)
    named = np.flatnonzero(demanded & spoken)
    before = named[named < end]
    return int(before[-1] if before.size else named[-1] if named.size else len(demanded) - 1)


@dataclass(frozen=True)
class WordMatch:
    """n titles against the q words, at most L tokens a title.

    `found` float32 (n, q): the strength of the best alternative the title has, 0–1. `placed` bool (n, q, L): at which
    tokens. `named` bool (n, q): among those that name the thing. `meant` float32 (n, q): the closest any term comes in
    meaning, `spelt`: in spelling; 1 where the word is found. `covered` bool (n, T): terms that the query has;
    `told` float32 (n, T): how close each comes to any word of the query. `term_weights` float32 (n, T).
    """

    found: FloatArray
    placed: BoolArray
    named: BoolArray
    meant: FloatArray
    spelt: FloatArray
    covered: BoolArray
    told: FloatArray
    term_weights: FloatArray
    in_name: BoolArray


def match_words(query: QueryTerms, items: ItemTerms, rows: NDArray[np.int32]) -> WordMatch:
    """The match of some titles, `rows` int32 (n,)."""
    codes_NT, tokens_NT, kinds_NT = (table[rows] for table in (items.codes, items.tokens, items.kinds))
    width = max(int((codes_NT >= 0).sum(axis=1).max(initial=1)), 1)
    codes_NT, tokens_NT, kinds_NT = codes_NT[:, :width], tokens_NT[:, :width], kinds_NT[:, :width]
    equal_NAT = codes_NT[:, None, :] == query.alternatives[None, :, None]
    strength_NA = equal_NAT.any(axis=2) * query.strengths
    found = np.maximum.reduceat(strength_NA, query.starts, axis=1)
    same_NQT = np.logical_or.reduceat(equal_NAT & (query.strengths >= SAME)[None, :, None], query.starts, axis=1)
    in_name = tokens_NT < items.heads[rows][:, None]
    in_name &= codes_NT >= 0
    distinct, place_NT = _distinct(codes_NT, len(items.idf))
    meaning_QU = np.clip(query.meaning @ items.meaning[distinct].T, 0, 1)
    meaning_NQ = np.stack([_padded(each)[place_NT].max(axis=1) for each in meaning_QU], axis=1)
    spelling_QU = _alike(query.signatures, items.signatures[distinct])
    spelling_NQ = np.stack([_padded(each)[place_NT].max(axis=1) for each in spelling_QU], axis=1)
    told_NT = _padded(meaning_QU.max(axis=0, initial=0))[place_NT]
    exact, covered_NT = found > 0, same_NQT.any(axis=1)
    return WordMatch(
        found=found,
        placed=_by_token(same_NQT, tokens_NT),
        named=(same_NQT & in_name[:, None, :]).any(axis=2),
        meant=np.where(exact, np.maximum(found, SAME), meaning_NQ),
        spelt=np.where(exact, np.maximum(found, SAME), spelling_NQ),
        covered=covered_NT,
        told=np.maximum(covered_NT, told_NT),
        term_weights=_term_weights(items, codes_NT, kinds_NT),
        in_name=in_name,
    )


def _distinct(codes_NT: NDArray[np.int32], terms: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The distinct terms of some titles, ascending, and where each stands among them; padding stands after the last."""
    seen = np.zeros(terms + 1, bool)
    seen[codes_NT] = True  # padding, −1, is the last
    seen[terms] = False
    distinct = np.flatnonzero(seen).astype(np.int32)
    place = np.full(terms + 1, len(distinct), np.int32)
    place[distinct] = np.arange(len(distinct), dtype=np.int32)
    return distinct, place[codes_NT]


def _padded(values: FloatArray) -> FloatArray:
    """With a 0 behind, for padding."""
    return np.append(values, np.float32(0))


def _by_token(placed_NQT: BoolArray, tokens_NT: NDArray[np.int16]) -> BoolArray:
    """From terms to tokens: a measure's three terms are one token."""
    grid = np.zeros((*placed_NQT.shape[:2], placed_NQT.shape[2] + 1), bool)
    item, word, place = np.nonzero(placed_NQT)
    grid[item, word, tokens_NT[item, place]] = True
    return grid


def _alike(queries: NDArray[np.uint64], terms: NDArray[np.uint64]) -> FloatArray:
    """(q, u): cosine of the sets of letter triples, by their signatures."""
    shared = np.bitwise_count(queries[:, None, :] & terms[None, :, :]).sum(axis=2, dtype=np.int16)
    sizes = [np.maximum(np.bitwise_count(each).sum(axis=1, dtype=np.int16), 1) for each in (queries, terms)]
    return (shared / np.sqrt(np.multiply.outer(*sizes))).astype(np.float32)


def _term_weights(items: ItemTerms, codes_NT: NDArray[np.int32], kinds_NT: NDArray[np.int8]) -> FloatArray:
    """idf of each term of the titles; little for stop words and for units, whose number has said it."""
    weights = np.where(codes_NT >= 0, _of_terms(items.idf, codes_NT), 0)
    return (weights * SHARE_BY_KIND[kinds_NT]).astype(np.float32)


SHARE_BY_KIND = np.ones(6, np.float32)
SHARE_BY_KIND[[STOP, UNIT, NUMBER]] = OPTIONAL_WEIGHT, 0.3, 0.5
