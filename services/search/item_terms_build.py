"""Makes `ItemTerms` of a catalogue's titles."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.search.item_terms import ENDING, NAMING, ItemTerms, spelling_signatures
from services.search.text.analyser import Analyser, Kind, Token

OVERSAMPLE, POWER_ITERATIONS = 10, 2
MOST_TERMS = 64
"""Places of tokens are kept as the bits of one number."""


class TermKind(IntEnum):
    """What a term of a title is. A size and a measure are numbers, beside the unit's own term."""

    WORD = 0
    NUMBER = 1
    UNIT = 2
    STOP = 3
    MODEL = 4
    NOTHING = 5


SHARE: dict[TermKind, float] = {TermKind.NUMBER: 0.5, TermKind.UNIT: 0.3, TermKind.STOP: 0.1, TermKind.NOTHING: 0.0}
"""Of a term's idf, what it tells of a title; of the others all."""


@dataclass(frozen=True)
class ItemTermsConfig:
    """`terms`: of a title are kept. `dimensions` of the meaning by co-occurrence; 0: none. `least_named`: tokens of a
    title before a stop word can end what names the thing ("With Love candle" begins with one)."""

    terms: int = 40
    dimensions: int = 96
    least_named: int = 2
    seed: int = 0


def build_item_terms(titles: Iterable[str], analyser: Analyser, config: ItemTermsConfig | None = None) -> ItemTerms:
    """The terms of titles, in the titles' order."""
    config = ItemTermsConfig() if config is None else config
    assert config.terms <= MOST_TERMS
    vocabulary: dict[str, int] = {}
    codes, tokens, kinds = array("i"), array("b"), array("b")
    sizes, lengths, heads = array("q"), array("h"), array("h")
    for title in titles:
        found = analyser.tokens(title)
        rows = list(chain.from_iterable(_rows(at, token, analyser) for at, token in enumerate(found)))[: config.terms]
        codes.extend(vocabulary.setdefault(term, len(vocabulary)) for term, _, _ in rows)
        lengths.append(rows[-1][1] + 1 if rows else 0)
        heads.append(_named(rows, config.least_named))
        if not rows:
            codes.append(-1)
            rows = [("", 0, TermKind.NOTHING)]
        tokens.extend(at for _, at, _ in rows)
        kinds.extend(kind for _, _, kind in rows)
        sizes.append(len(rows))
    starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    row, code = np.repeat(np.arange(len(sizes)), sizes), np.array(codes, np.int32)
    token, head = np.array(tokens, np.int8), np.array(heads, np.int16)
    idf, matrix = _weights(row, code, len(sizes), len(vocabulary))
    meaning, item_meaning = _meanings(matrix, config)
    return ItemTerms(
        terms=list(vocabulary),
        starts=starts,
        codes=code,
        tokens=token,
        **_of_terms(row, code, token, np.array(kinds, np.int8), head, idf),
        lengths=np.array(lengths, np.int16),
        heads=head,
        idf=idf,
        signatures=spelling_signatures(vocabulary),
        meaning=meaning,
        item_meaning=item_meaning,
    )


def _of_terms(
    row: NDArray[np.int64],
    code: NDArray[np.int32],
    token: NDArray[np.int8],
    kind: NDArray[np.int8],
    heads: NDArray[np.int16],
    idf: NDArray[np.float32],
) -> dict[str, NDArray]:
    """What follows from the kinds of the titles' terms and from which tokens name the thing."""
    share = np.array([SHARE.get(each, 1.0) for each in TermKind], np.float32)
    head = heads[row]
    return {
        "roles": np.where(token + 1 == head, ENDING, (token < head) * NAMING).astype(np.int8),
        "weights": idf[code] * share[kind] if idf.size else np.zeros(code.size, np.float32),
        "numbers": np.bincount(row, kind == TermKind.NUMBER, heads.size).astype(np.int16),
        "measured": np.bincount(row, kind == TermKind.UNIT, heads.size) > 0,
    }


def _rows(at: int, token: Token, analyser: Analyser) -> list[tuple[str, int, TermKind]]:
    """(term, token, kind) of a token's terms."""
    if token.kind in (Kind.WORD, Kind.CJK):
        return [(term, at, TermKind.STOP if analyser.is_stop(term) else TermKind.WORD) for term in token.terms]
    if token.kind is Kind.MODEL:
        return [(term, at, TermKind.MODEL if place == 0 else TermKind.NUMBER) for place, term in enumerate(token.terms)]
    return [(term, at, TermKind.UNIT if term.isalpha() else TermKind.NUMBER) for term in token.terms]


def _named(rows: Sequence[tuple[str, int, TermKind]], least: int) -> int:
    """The token after what names the thing: the first stop word after `least` tokens, numbers before it left out."""
    stop = next((at for _, at, kind in rows if kind is TermKind.STOP and at >= least), len(rows))
    words = (TermKind.WORD, TermKind.STOP)
    return max((at + 1 for _, at, kind in rows if kind in words and at < stop), default=0)


def _weights(
    row: NDArray[np.int64], code: NDArray[np.int32], titles: int, terms: int
) -> tuple[NDArray[np.float32], sp.csr_matrix]:
    """BM25's idf by term, and the (n, v) matrix of idf weights with rows of length 1."""
    row, code = row[code >= 0], code[code >= 0]
    matrix = sp.csr_matrix((np.ones(len(row), np.float32), (row, code)), (titles, terms))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    with_term = np.bincount(matrix.indices, minlength=terms)
    idf = np.log1p((titles - with_term + 0.5) / (with_term + 0.5)).astype(np.float32)
    matrix.data = idf[matrix.indices]
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return idf, sp.csr_matrix(sp.diags_array((1 / np.maximum(length, 1e-9)).astype(np.float32)) @ matrix)


def _meanings(matrix: sp.csr_matrix, config: ItemTermsConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors of terms (v, K) and titles (n, K), K at most a quarter of the titles.

    Latent semantic analysis (Deerwester et al. 1990) by a randomised singular value decomposition (Halko et al. 2011).
    """
    n, v = matrix.shape
    wanted = min(config.dimensions, n // 4, v // 4)
    if wanted < 2:
        return np.zeros((v, 1), np.float32), np.zeros((n, 1), np.float32)
    random = np.random.default_rng(config.seed).normal(size=(v, wanted + OVERSAMPLE)).astype(np.float32)
    basis = np.linalg.qr(matrix @ random)[0]
    for _ in range(POWER_ITERATIONS):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    _, singular, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    axes = right[:wanted].T
    return _unit(axes * singular[:wanted]), _unit(matrix @ axes)


def _unit(rows: NDArray) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(length, 1e-9)).astype(np.float32)
