"""Plain BM25, the yardstick of search: no stems, no fields, no spelling (as bm25s computes it; Lù 2024)."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray


class PlainBM25:
    """Exact BM25 of whole texts over lower-case words, in Lucene's form, as one sparse product of a query's columns."""

    def __init__(self, titles: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        documents = [Counter(words(title)) for title in titles]
        self._terms = {term: at for at, term in enumerate(dict.fromkeys(t for d in documents for t in d))}
        rows = np.repeat(np.arange(len(documents)), [len(d) for d in documents])
        columns = np.array([self._terms[t] for d in documents for t in d])
        counts = np.array([n for d in documents for n in d.values()], np.float64)
        lengths = np.array([d.total() for d in documents], np.float64)
        frequency = np.bincount(columns, minlength=len(self._terms))
        idf = np.log1p((len(documents) - frequency + 0.5) / (frequency + 0.5))
        norm = k1 * (1 - b + b * lengths / max(float(lengths.mean()), 1e-9))
        impact = (idf[columns] * counts * (k1 + 1) / (counts + norm[rows])).astype(np.float32)
        self._matrix = scipy.sparse.csc_matrix((impact, (rows, columns)), shape=(len(documents), len(self._terms)))

    def best(self, query: str, count: int) -> NDArray[np.intp]:
        """Rows of the best titles that hold any of the query's words."""
        scores = np.zeros(self._matrix.shape[0], np.float32)
        for term in words(query):
            at = self._terms.get(term)
            if at is not None:
                start, end = self._matrix.indptr[at : at + 2]
                scores[self._matrix.indices[start:end]] += self._matrix.data[start:end]
        count = min(count, scores.size)
        top = np.argpartition(-scores, count - 1)[:count]
        return top[np.argsort(-scores[top], kind="stable")][: np.count_nonzero(scores[top])]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
