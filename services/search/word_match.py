"""How the words of a query are found in its candidates' titles: exactly, by meaning, by spelling, in which order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.search.item_terms import SIGNATURE_WORDS, ItemTerms, spelling_signatures
from services.search.understanding import UnderstoodQuery

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

ONE = np.uint64(1)
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
    """n titles of T terms altogether against the q words.

    `found` float32 (q, n): the strength of the best alternative the title has, 0–1. `places` uint64 (q, n): at which
    tokens, one bit each. `names` uint64 (n,): the tokens that name the thing. `meant` float32 (q, n): the closest any
    term comes in meaning, `spelt`: in spelling; 1 where the word is found. Of the titles' terms, title by title:
    `begins` int64 (n,): where each title's begin, `roles` int8 (T,), `weights` float32 (T,); `covered` bool (T,): that
    the query has, `told` float32 (T,): how close each comes to any word of the query.
    """

    found: FloatArray
    places: NDArray[np.uint64]
    names: NDArray[np.uint64]
    meant: FloatArray
    spelt: FloatArray
    begins: NDArray[np.int64]
    roles: NDArray[np.int8]
    weights: FloatArray
    covered: BoolArray
    told: FloatArray

    @property
    def named(self) -> BoolArray:
        """bool (q, n): whether the word is among those that name the thing."""
        return (self.places & self.names) != 0


def match_words(query: QueryTerms, items: ItemTerms, rows: NDArray[np.int32]) -> WordMatch:
    """The match of some titles, `rows` int32 (n,), n at least 1."""
    begins, at_T = _terms_of(items, rows)
    codes_T = items.codes[at_T]
    equal_AT = codes_T == query.alternatives[:, None]
    places_AN = _places(equal_AT, items.tokens[at_T], begins)
    same_A = query.strengths >= SAME
    found = np.maximum.reduceat((places_AN != 0) * query.strengths[:, None], query.starts, axis=0)
    places = np.bitwise_or.reduceat(places_AN * same_A[:, None], query.starts, axis=0)
    covered_T = equal_AT[same_A].any(axis=0)
    distinct, place_T = _distinct(codes_T, len(items.idf))
    near_QU = _padded(np.maximum(query.meaning @ items.meaning[distinct].T, 0))
    alike_QU = _padded(_alike(query.signatures, items, distinct))
    exact = np.where(found > 0, np.maximum(found, SAME), 0)
    return WordMatch(
        found=found,
        places=places,
        names=(ONE << items.heads[rows].astype(np.uint64)) - ONE,
        meant=_closest(near_QU, place_T, begins, exact),
        spelt=_closest(alike_QU, place_T, begins, exact),
        begins=begins,
        roles=items.roles[at_T],
        weights=items.weights[at_T],
        covered=covered_T,
        told=np.maximum(covered_T, np.minimum(near_QU.max(axis=0), 1)[place_T]),
    )


def _terms_of(items: ItemTerms, rows: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the terms of each of these titles begin among all of theirs, int64 (n,), and where those are in `items`."""
    starts = items.starts[rows]
    sizes = items.starts[rows + 1] - starts
    ends = sizes.cumsum()
    begins = ends - sizes
    return begins, np.arange(ends[-1]) + np.repeat(starts - begins, sizes)


def _places(equal_AT: BoolArray, tokens_T: NDArray[np.int8], begins: NDArray[np.int64]) -> NDArray[np.uint64]:
    """At which tokens of each title each alternative stands, one bit each, uint64 (a, n)."""
    alternatives, terms = equal_AT.shape
    places = np.zeros(alternatives * begins.size, np.uint64)
    hits = np.flatnonzero(equal_AT)
    if hits.size:
        alternative, term = np.divmod(hits, terms)
        title = alternative * begins.size + np.searchsorted(begins, term, side="right") - 1
        first = np.flatnonzero(np.diff(title, prepend=-1))
        bits = ONE << tokens_T[term].astype(np.uint64)
        places[title[first]] = np.bitwise_or.reduceat(bits, first)
    return places.reshape(alternatives, -1)


def _distinct(codes_T: NDArray[np.int32], terms: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """The distinct terms of some titles, ascending, and where each stands among them; "no term" stands after the
    last."""
    seen = np.zeros(terms + 1, bool)
    seen[codes_T] = True  # "no term", −1, is the last
    seen[terms] = False
    distinct = np.flatnonzero(seen)
    place = np.empty(terms + 1, np.int32)
    place[distinct] = np.arange(distinct.size, dtype=np.int32)
    place[terms] = distinct.size
    return distinct, place[codes_T]


def _padded(values_QU: FloatArray) -> FloatArray:
    """With a 0 behind, for "no term"."""
    padded = np.zeros((len(values_QU), values_QU.shape[1] + 1), np.float32)
    padded[:, :-1] = values_QU
    return padded


def _closest(
    values_QU: FloatArray, place_T: NDArray[np.int32], begins: NDArray[np.int64], exact: FloatArray
) -> FloatArray:
    """The greatest value of each title's terms, at most 1, float32 (q, n); `exact` instead, where that is not 0."""
    closest = np.maximum.reduceat(values_QU.take(place_T, axis=1), begins, axis=1)
    return np.where(exact > 0, exact, np.minimum(closest, 1))


def _alike(queries: NDArray[np.uint64], items: ItemTerms, terms: NDArray[np.intp]) -> FloatArray:
    """(q, u): cosine of the sets of letter triples, by their signatures."""
    signatures = items.signatures[terms]
    shared = np.zeros((len(queries), len(terms)), np.uint16)
    for word in range(SIGNATURE_WORDS):
        shared += np.bitwise_count(queries[:, word, None] & signatures[:, word])
    size = np.sqrt(np.maximum(np.bitwise_count(queries).sum(axis=1), 1)).astype(np.float32)
    return shared / (size[:, None] * items.spelling_size[terms])
