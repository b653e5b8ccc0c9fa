"""Which texts belong together in a shop: items bought or viewed one after the other, queries and what was clicked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from services.core import columns
from services.core.types import EventType

SOON = {EventType.PURCHASE: timedelta(days=30), EventType.VIEW: timedelta(minutes=30)}
"""How soon the next item of the same kind of event must follow to belong to the one before."""
QUERY_TO_CLICK = timedelta(minutes=10)


@dataclass(frozen=True)
class TextPairs:
    """n pairs: `left` and `right` are rows of `texts`; `item` says which of these are items of the catalogue (−1: a
    query), `kind` where a pair comes from."""

    texts: tuple[str, ...]
    item: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    kind: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.left)

    def take(self, rows: NDArray) -> "TextPairs":
        """Some of the pairs."""
        return TextPairs(self.texts, self.item, self.left[rows], self.right[rows], self.kind[rows])

    def counts(self) -> dict[str, int]:
        """Pairs by kind."""
        kinds, counts = np.unique(self.kind, return_counts=True)
        return dict(zip(kinds.tolist(), counts.tolist(), strict=True))


def text_pairs(events: pa.Table, item_ids: pa.Array, item_texts: list[str], most: int, seed: int) -> TextPairs:
    """Pairs of the events (`user_id`, `item_id`, `type`, `timestamp`, `query` where there are searches), at most so
    many, drawn at random within each kind so that the rarer kinds are not crowded out. Items without a text take no
    part, nor does a text paired with itself."""
    code = {name: row for row, (name, text) in enumerate(zip(item_ids.to_pylist(), item_texts, strict=True)) if text}
    frame = pl.from_arrow(events).sort(columns.USER_ID, columns.TIMESTAMP, maintain_order=True)
    parts = {f"co-{kind}": _in_a_row(frame, kind, soon) for kind, soon in SOON.items()}
    found = {kind: _coded(part, code, code) for kind, part in parts.items()}
    queries: dict[str, int] = {}
    if "query" in frame.columns:
        clicked = _query_clicks(frame)
        queries = {text: len(item_texts) + row for row, text in enumerate(clicked["left"].unique(maintain_order=True))}
        found["query-click"] = _coded(clicked, queries, code)
    rng, share = np.random.default_rng(seed), -(-most // len(found))
    drawn = {kind: rows[rng.permutation(len(rows))[:share]] for kind, rows in found.items()}
    rows = np.concatenate(list(drawn.values()))
    kind = np.repeat(list(drawn), [len(part) for part in drawn.values()])
    item = np.concatenate((np.arange(len(item_texts)), np.full(len(queries), -1))).astype(np.int32)
    return TextPairs((*item_texts, *queries), item, rows[:, 0], rows[:, 1], kind)


def _in_a_row(frame: pl.DataFrame, kind: EventType, soon: timedelta) -> pl.DataFrame:
    """(left, right) ids of items that a user met one after the other."""
    return (
        frame.lazy()
        .filter(pl.col(columns.TYPE).cast(pl.String) == kind.value, pl.col(columns.ITEM_ID).is_not_null())
        .with_columns(
            right=pl.col(columns.ITEM_ID).shift(-1).over(columns.USER_ID),
            wait=pl.col(columns.TIMESTAMP).shift(-1).over(columns.USER_ID) - pl.col(columns.TIMESTAMP),
        )
        .filter(pl.col("right") != pl.col(columns.ITEM_ID), pl.col("wait") <= soon)
        .select(left=pl.col(columns.ITEM_ID).cast(pl.String), right=pl.col("right").cast(pl.String))
        .collect()
    )


def _query_clicks(frame: pl.DataFrame) -> pl.DataFrame:
    """(left, right): a query, and an item clicked soon after it."""
    kind = pl.col(columns.TYPE).cast(pl.String)
    asked = frame.filter(kind == EventType.SEARCH.value, pl.col("query").is_not_null())
    clicked = frame.filter(kind == EventType.CLICK.value, pl.col(columns.ITEM_ID).is_not_null())
    key = [columns.USER_ID, columns.TIMESTAMP]
    return (
        clicked.select(*key, right=pl.col(columns.ITEM_ID).cast(pl.String))
        .sort(columns.TIMESTAMP)
        .join_asof(
            asked.select(*key, left=pl.col("query").cast(pl.String)).sort(columns.TIMESTAMP),
            on=columns.TIMESTAMP,
            by=columns.USER_ID,
            check_sortedness=False,
            tolerance=QUERY_TO_CLICK,
        )
        .filter(pl.col("left").is_not_null())
        .select("left", "right")
    )


def _coded(part: pl.DataFrame, lefts: Mapping[str, int], code: Mapping[str, int]) -> NDArray[np.int32]:
    """(n, 2) distinct pairs of text rows, of those whose sides both have one."""
    pairs = part.unique(maintain_order=True).iter_rows()
    rows = [(lefts[left], code[right]) for left, right in pairs if left in lefts and right in code]
    return np.array(rows, np.int32).reshape(-1, 2)
