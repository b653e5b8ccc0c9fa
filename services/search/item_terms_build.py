"""Makes `ItemTerms` of a catalogue's titles."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from services.search.item_terms import MODEL, NUMBER, PADDING, STOP, UNIT, WORD, ItemTerms, spelling_signatures
from services.search.text.analyser import Analyser, Kind, Token

OVERSAMPLE, POWER_ITERATIONS = 10, 2


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
    vocabulary: dict[str, int] = {}
    codes, tokens, kinds = array("i"), array("h"), array("b")
    counts, lengths, heads = array("q"), array("h"), array("h")
    for title in titles:
        found = analyser.tokens(title)
        rows = list(chain.from_iterable(_rows(at, token, analyser) for at, token in enumerate(found)))[: config.terms]
        codes.extend(vocabulary.setdefault(term, len(vocabulary)) for term, _, _ in rows)
        tokens.extend(at for _, at, _ in rows)
        kinds.extend(kind for _, _, kind in rows)
        counts.append(len(rows))
        lengths.append(rows[-1][1] + 1 if rows else 0)
        heads.append(_named(rows, config.least_named))
    count_N = np.array(counts, np.int64)
    codes_NT = _padded(np.array(codes, np.int32), count_N, config.terms, -1)
    idf, matrix = _weights(codes_NT, len(vocabulary))
    meaning, item_meaning = _meanings(matrix, config)
    return ItemTerms(
        terms=list(vocabulary),
        codes=codes_NT,
        tokens=_padded(np.array(tokens, np.int16), count_N, config.terms, -9),
        kinds=_padded(np.array(kinds, np.int8), count_N, config.terms, PADDING),
        lengths=np.array(lengths, np.int16),
        heads=np.array(heads, np.int16),
        idf=idf,
        signatures=spelling_signatures(vocabulary),
        meaning=meaning,
        item_meaning=item_meaning,
    )


def _rows(at: int, token: Token, analyser: Analyser) -> list[tuple[str, int, int]]:
    """(term, token, kind) of a token's terms."""
    if token.kind in (Kind.WORD, Kind.CJK):
        return [(term, at, STOP if analyser.is_stop(term) else WORD) for term in token.terms]
    if token.kind is Kind.MODEL:
        return [(term, at, MODEL if place == 0 else NUMBER) for place, term in enumerate(token.terms)]
    return [(term, at, UNIT if term.isalpha() else NUMBER) for term in token.terms]


def _named(rows: Sequence[tuple[str, int, int]], least: int) -> int:
    """The token after what names the thing: the first stop word after `least` tokens, numbers before it left out."""
    stop = next((at for _, at, kind in rows if kind == STOP and at >= least), len(rows))
    return max((at + 1 for _, at, kind in rows if kind in (WORD, STOP) and at < stop), default=0)


def _padded(values: NDArray, counts: NDArray[np.int64], width: int, padding: int) -> NDArray:
    """(n, width) rows of a flat array."""
    table = np.full((len(counts), width), padding, values.dtype)
    table[np.arange(width)[None, :] < counts[:, None]] = values
    return table


def _weights(codes_NT: NDArray[np.int32], terms: int) -> tuple[NDArray[np.float32], sp.csr_matrix]:
    """BM25's idf by term, and the (n, v) matrix of idf weights with rows of length 1."""
    row, place = np.nonzero(codes_NT >= 0)
    matrix = sp.csr_matrix((np.ones(len(row), np.float32), (row, codes_NT[row, place])), (len(codes_NT), terms))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    with_term = np.bincount(matrix.indices, minlength=terms)
    idf = np.log1p((len(codes_NT) - with_term + 0.5) / (with_term + 0.5)).astype(np.float32)
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
