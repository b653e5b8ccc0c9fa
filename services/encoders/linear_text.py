"""A linear regression on hashed n-grams with TF-IDF weights: kilobytes of weights, tens of thousands of texts a second.

The features are sublinear term frequency × inverse document frequency, rows scaled to length 1 (Salton & Buckley 1988),
plus optional dense columns; the weights minimise squared error with an L2 penalty (ridge regression).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from services.core.errors import CorruptArtefact
from services.encoders.ngrams import NgramConfig, NgramCounts, count_ngrams


@dataclass(frozen=True)
class LinearTextModel:
    """`bucket` (k,) ascending, with `idf` and `weight` (k,); `dense` weights the extra columns."""

    ngrams: NgramConfig
    bucket: np.ndarray
    idf: np.ndarray
    weight: np.ndarray
    dense: np.ndarray
    bias: float

    def predict(self, texts: Sequence[str], extra: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Predictions float32 (n,) and known (n,): whether the text holds any n-gram that the model has seen."""
        row, column, value = self._features(count_ngrams(texts, self.ngrams))
        scores = np.bincount(row, weights=value * self.weight[column], minlength=len(texts))[: len(texts)]
        known = np.bincount(row, minlength=len(texts))[: len(texts)] > 0
        if len(self.dense):
            if extra is None or extra.shape != (len(texts), len(self.dense)):
                raise ValueError(f"this model needs {len(self.dense)} extra columns a text")
            scores = scores + extra @ self.dense
        return (scores + self.bias).astype(np.float32), known

    def _features(self, counts: NgramCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = np.minimum(np.searchsorted(self.bucket, counts.bucket), len(self.bucket) - 1)
        hit = self.bucket[place] == counts.bucket
        row, column = counts.row[hit], place[hit]
        value = (1.0 + np.log(counts.count[hit])) * self.idf[column]
        norm = np.sqrt(np.bincount(row, weights=value * value, minlength=counts.texts))
        return row, column, value / norm[row]

    def save(self, path: Path) -> None:
        """One compressed file, weights as float16."""
        np.savez_compressed(
            path,
            bucket=self.bucket.astype(np.uint32),
            idf=self.idf.astype(np.float16),
            weight=self.weight.astype(np.float16),
            dense=self.dense.astype(np.float32),
            bias=np.float32(self.bias),
            **{f"ngrams_{key}": np.array(value) for key, value in asdict(self.ngrams).items()},
        )

    @classmethod
    def load(cls, path: Path) -> "LinearTextModel":
        """Read what `save` wrote.

        Raises:
            CorruptArtefact: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                ngrams = NgramConfig(str(file["ngrams_unit"]), int(file["ngrams_longest"]), int(file["ngrams_bits"]))
                return cls(
                    ngrams,
                    file["bucket"].astype(np.int64),
                    file["idf"].astype(np.float32),
                    file["weight"].astype(np.float32),
                    file["dense"],
                    float(file["bias"]),
                )
        except (OSError, ValueError, KeyError) as error:
            raise CorruptArtefact(f"The sentiment weights {path.name} are damaged: reinstall Portrait") from error


def fit_linear_text(
    texts: Sequence[str],
    targets: np.ndarray,
    ngrams: NgramConfig,
    *,
    extra: np.ndarray | None = None,
    penalty: float = 1.0,
    least_texts: int = 2,
    iterations: int = 300,
) -> LinearTextModel:
    """Fit on texts with float targets (n,). N-grams in fewer than `least_texts` texts are dropped."""
    counts = count_ngrams(texts, ngrams)
    bucket, texts_with = np.unique(counts.bucket, return_counts=True)
    frequent = texts_with >= least_texts
    bucket, texts_with = bucket[frequent], texts_with[frequent]
    idf = np.log((1 + len(texts)) / (1 + texts_with)) + 1
    dense = np.zeros(0 if extra is None else extra.shape[1])
    model = LinearTextModel(ngrams, bucket, idf, np.zeros(len(bucket)), dense, 0.0)
    row, column, value = model._features(counts)
    columns = np.zeros((len(texts), 0)) if extra is None else extra
    weights, bias = _ridge(row, column, value, columns, len(bucket), np.asarray(targets, float), penalty, iterations)
    return LinearTextModel(ngrams, bucket, idf, weights[: len(bucket)], weights[len(bucket) :], bias)


def _ridge(
    row: np.ndarray,
    column: np.ndarray,
    value: np.ndarray,
    dense: np.ndarray,
    width: int,
    targets: np.ndarray,
    penalty: float,
    iterations: int,
) -> tuple[np.ndarray, float]:
    """Ridge regression with an unpenalised intercept by conjugate gradients on the normal equations."""
    n = len(targets)

    def times(w: np.ndarray) -> np.ndarray:
        product = np.bincount(row, weights=value * w[column], minlength=n) + dense @ w[width:]
        return product - product.mean()  # centring is the intercept

    def transposed(r: np.ndarray) -> np.ndarray:
        return np.concatenate([np.bincount(column, weights=value * r[row], minlength=width), dense.T @ r])

    centred = targets - targets.mean()
    w = np.zeros(width + dense.shape[1])
    residual = transposed(centred)
    direction, power = residual.copy(), residual @ residual
    stop = 1e-10 * power
    for _ in range(iterations):
        applied = transposed(times(direction)) + penalty * direction
        step = power / (direction @ applied)
        w += step * direction
        residual -= step * applied
        next_power = residual @ residual
        if next_power <= stop:
            break
        direction = residual + (next_power / power) * direction
        power = next_power
    plain = np.bincount(row, weights=value * w[column], minlength=n) + dense @ w[width:]
    return w, float(targets.mean() - plain.mean())
