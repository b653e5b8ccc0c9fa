"""How much of the hidden taste was recovered: pure functions over arrays, and two that line portraits up with truth.

NDCG with linear gain: Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from services.core.errors import InvalidInput
from services.simulation.parameters import behaviour


@dataclass(frozen=True)
class TasteRecovery:
    """Means over the users whose hidden taste and portrait could be compared; NaN where there was none."""

    users: int
    spearman: float
    ndcg: float


@dataclass(frozen=True)
class ListRecovery:
    """NDCG@k against hidden attraction, of recommended lists and of the popular list; `lift` is their ratio."""

    users: int
    k: int
    ndcg: float
    ndcg_popular: float

    @property
    def lift(self) -> float:
        return self.ndcg / self.ndcg_popular


def average_ranks(values_UN: np.ndarray) -> np.ndarray:
    """Ranks within each row from 1 (lowest), ties sharing their average: [users, N]."""
    order = np.argsort(values_UN, axis=1, kind="stable")
    ordered = np.take_along_axis(values_UN, order, axis=1)
    n_rows, n = values_UN.shape
    place = np.broadcast_to(np.arange(n), (n_rows, n))
    starts = np.ones((n_rows, n), dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones((n_rows, n), dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, n - 1)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty((n_rows, n))
    np.put_along_axis(ranks, order, 1.0 + (first + last) / 2.0, axis=1)
    return ranks


def spearman(recovered_UN: np.ndarray, hidden_UN: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each row, NaN where one side is constant: [users]."""
    a, b = average_ranks(recovered_UN), average_ranks(hidden_UN)
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=scale > 0)


def ndcg(scores_UN: np.ndarray, gain_UN: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of ranking each row by score, with gains ≥ 0, NaN where all gains are 0: [users]."""
    top = np.argsort(-scores_UN, axis=1, kind="stable")[:, :k]
    return list_ndcg(top, gain_UN, k)


def list_ndcg(lists_UK: np.ndarray, gain_UI: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of ranked lists of columns of `gain_UI` (gains ≥ 0); -1 stands for an empty place. [users].

    The ideal is the user's own best k of all columns. Raises InvalidInput where a list names a column twice.
    """
    if (gain_UI < 0).any():
        raise InvalidInput("Gains must not be negative: turn utilities into attraction first")
    lists_UK = lists_UK[:, :k]
    ordered = np.sort(lists_UK, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise InvalidInput("A ranked list names an item twice: remove the repetitions before measuring")
    gain = np.where(lists_UK >= 0, np.take_along_axis(gain_UI, np.maximum(lists_UK, 0), axis=1), 0.0)
    best = -np.sort(-gain_UI, axis=1)[:, :k]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = (best * discount[: best.shape[1]]).sum(axis=1)
    reached = (gain * discount[: gain.shape[1]]).sum(axis=1)
    return np.divide(reached, ideal, out=np.full(len(ideal), np.nan), where=ideal > 0)


def attraction(utility: np.ndarray) -> np.ndarray:
    """The chance (0–1) that a user who sees an item of this hidden utility clicks it: the gain for NDCG."""
    return behaviour().click.probability(utility)


def list_recovery(lists_UK: np.ndarray, utility_UI: np.ndarray, popularity_I: np.ndarray, k: int = 10) -> ListRecovery:
    """NDCG@k of recommended lists against hidden utility, beside the same k most popular items for everybody.

    `lists_UK` holds columns of `utility_UI` (what `SimulatedShop.true_affinity` returns), -1 for an empty place.
    """
    gain = attraction(utility_UI)
    popular = np.argsort(-popularity_I, kind="stable")[:k]
    popular_UK = np.broadcast_to(popular, (len(gain), len(popular)))
    return ListRecovery(
        users=len(gain),
        k=k,
        ndcg=float(np.nanmean(list_ndcg(lists_UK, gain, k))),
        ndcg_popular=float(np.nanmean(list_ndcg(popular_UK, gain, k))),
    )


def taste_recovery(
    portraits: Mapping[str, Mapping[str, float]], tastes: pl.DataFrame, of: str = "categories", k: int = 10
) -> TasteRecovery:
    """The means of `taste_correlations` over the users."""
    _, correlation, quality = taste_correlations(portraits, tastes, of, k)
    if not len(correlation):
        return TasteRecovery(0, float("nan"), float("nan"))
    return TasteRecovery(len(correlation), float(correlation.mean()), float(np.nanmean(quality)))


def taste_correlations(
    portraits: Mapping[str, Mapping[str, float]], tastes: pl.DataFrame, of: str = "categories", k: int = 10
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Compares portraits' affinities (user → name → weight) with the hidden `categories` or `brands` of the users.

    A portrait may name more than leaves ("Home", "Home > Kitchen > Kettles"): paths are read by their last part, and
    names that no user hides a taste for are left out. Users without portrait, or with an empty one, do not count.
    Returns the users compared, and of each Spearman's correlation and NDCG@k over all names.
    """
    columns = {"categories": "category_weights", "brands": "brand_weights"}
    if of not in columns:
        raise InvalidInput(f"There is no hidden taste {of!r}: choose categories or brands")
    users = [user for user in tastes["user_id"] if portraits.get(user)]
    hidden = tastes.filter(pl.col("user_id").is_in(users)).select(
        "user_id", name=pl.col(of), weight=pl.col(columns[of])
    )
    hidden = hidden.explode("name", "weight").drop_nulls()
    names = hidden["name"].unique().sort()
    recovered = pl.DataFrame(
        [
            (user, name.rsplit(" > ", 1)[-1], float(weight))
            for user in users
            for name, weight in portraits[user].items()
        ],
        schema={"user_id": pl.String, "name": pl.String, "weight": pl.Float64},
        orient="row",
    )
    truth_UN = dense(hidden, users, names.to_list())
    found_UN = dense(recovered, users, names.to_list())
    correlation = spearman(found_UN, truth_UN) if len(users) else np.zeros(0)
    compared = np.flatnonzero(np.isfinite(correlation))
    quality = ndcg(found_UN[compared], np.maximum(truth_UN[compared], 0.0), k) if len(compared) else np.zeros(0)
    return [users[row] for row in compared.tolist()], correlation[compared], quality


def dense(long: pl.DataFrame, users: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Rows (user_id, name, weight) as a matrix [users, names]; unknown names are left out, repeated ones summed."""
    row = pl.DataFrame({"user_id": users, "row": np.arange(len(users))}, schema_overrides={"user_id": pl.String})
    column = pl.DataFrame({"name": names, "column": np.arange(len(names))}, schema_overrides={"name": pl.String})
    placed = long.join(row, on="user_id").join(column, on="name")
    matrix = np.zeros((len(users), len(names)))
    np.add.at(matrix, (placed["row"].to_numpy(), placed["column"].to_numpy()), placed["weight"].to_numpy())
    return matrix
