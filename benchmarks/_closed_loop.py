"""The closed loop in memory: a shop with a past, rankers that see only what a shop sees, and users who answer them.

Up to a moment all rankers share the shop's own past. From then on each serves every session of the users who come, in
a world of its own: what its lists caused is what its portraits are made of the next day.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from services.cli.offline_data import text_vectors
from services.core.settings import get_settings
from services.features.portrait import Portrait, cold_portrait
from services.features.snapshot import ItemSnapshot
from services.profiles.offline import offline_pool, offline_portraits, offline_reference, offline_snapshot
from services.profiles.shop_data import EvaluationData
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecommendationRequest
from services.simulation.config import MICROSECONDS, ShopConfig
from services.simulation.ids import item_ids, item_numbers, user_ids, user_numbers
from services.simulation.shop import SimulatedShop
from services.simulation.visitors import Sessions, Visitors

PLACES = 10
LOOP_DAYS = 14


@dataclass(frozen=True)
class Past:
    """A shop as it is known from outside at `now`, and who comes afterwards (`day`, `user`, `time_us`)."""

    shop: SimulatedShop
    now: datetime
    events: pl.DataFrame
    items: pl.DataFrame
    visits: pl.DataFrame

    @classmethod
    def of(cls, config: ShopConfig) -> "Past":
        """The shop `LOOP_DAYS` before its end. Items that are published later, and events after it, are unknown."""
        shop = SimulatedShop(config)
        now = config.end - timedelta(days=LOOP_DAYS)
        events, items = pl.concat(shop.events()), pl.concat(shop.items())
        visits = (
            events.filter(pl.col("timestamp") >= now, pl.col("session_id").is_not_null())
            .group_by("user_id", "session_id")
            .agg(pl.col("timestamp").min())
            .select(
                day=((pl.col("timestamp") - now).dt.total_days()).cast(pl.Int64),
                user="user_id",
                time_us=pl.col("timestamp").dt.epoch("us"),
            )
        )
        visits = visits.with_columns(user=pl.Series(user_numbers(visits["user"].to_list(), config.users)))
        visits = visits.sort("day", "user", "time_us").unique(["day", "user"], keep="first", maintain_order=True)
        known = items.filter(pl.col("published_at") < now).sort("item_id")
        return cls(shop, now, events.filter(pl.col("timestamp") < now), known, visits)

    @cached_property
    def data(self) -> EvaluationData:
        """What training reads; item vectors are those of the texts."""
        vectors, space = text_vectors(self.items, get_settings())
        return EvaluationData("simulated shop", _arrow(self.events), _arrow(self.items), vectors, space)

    @cached_property
    def sold(self) -> NDArray[np.int64]:
        """Numbers of the items that can be shown."""
        ids = self.items.filter(pl.col("available"))["item_id"].to_list()
        return item_numbers(ids, self.shop.config.items)


class RankingPolicy(Protocol):
    """Chooses what is shown."""

    def rank(self, sessions: pl.DataFrame, events: pl.DataFrame, visitors: Visitors, as_of: datetime) -> NDArray:
        """(sessions, PLACES) item numbers, −1 for none. `events`: those of these users until `as_of`, the past and
        what this policy's own lists have caused. `visitors` is for the oracle alone."""
        ...


class Popular:
    """What most users have clicked, but for what this one has bought."""

    def __init__(self, past: Past) -> None:
        clicked = past.events.filter(pl.col("type") == "click").group_by("item_id").agg(pl.col("user_id").n_unique())
        ids = item_ids(past.sold).to_list()
        counts = dict(clicked.iter_rows())
        self._config, self._sold = past.shop.config, past.sold
        self._score = np.array([counts.get(name, 0) for name in ids], np.float64)

    def rank(self, sessions: pl.DataFrame, events: pl.DataFrame, visitors: Visitors, as_of: datetime) -> NDArray:
        return _top(np.tile(self._score, (len(sessions), 1)), self._sold, sessions, events, self._config)


class Oracle:
    """Knows each user's hidden taste and what he is looking for."""

    def __init__(self, past: Past) -> None:
        self._config, self._sold = past.shop.config, past.sold

    def rank(self, sessions: pl.DataFrame, events: pl.DataFrame, visitors: Visitors, as_of: datetime) -> NDArray:
        utility = visitors.utility(sessions["user"].to_numpy(), sessions["time_us"].to_numpy())
        return _top(utility[:, self._sold], self._sold, sessions, events, self._config)


class Served:
    """The serving pipeline over portraits of the day."""

    def __init__(self, past: Past, portraits: "Portraits", pipeline: RecommendationPipeline) -> None:
        self._config, self._portraits, self._pipeline = past.shop.config, portraits, pipeline

    def rank(self, sessions: pl.DataFrame, events: pl.DataFrame, visitors: Visitors, as_of: datetime) -> NDArray:
        portraits = self._portraits.as_of(events, as_of)
        lists = np.full((len(sessions), PLACES), -1, np.int64)
        names = user_ids(sessions["user"].to_numpy()).to_list()
        for row, (name, time_us) in enumerate(zip(names, sessions["time_us"].to_list(), strict=True)):
            now = time_us / MICROSECONDS
            portrait = portraits.get(name) or cold_portrait(name, now)
            found = self._pipeline.recommend(portrait, RecommendationRequest(name, count=PLACES), now)
            lists[row, : len(found.item_ids)] = item_numbers(found.item_ids, self._config.items)
        return lists


@dataclass
class Portraits:
    """Makes portraits as the workers would; the shop's statistics and the pool of similar users are the past's."""

    past: Past
    snapshot: ItemSnapshot = field(init=False)

    def __post_init__(self) -> None:
        data, now = self.past.data, self.past.now
        self._vectors = data.vector_table()
        self._reference = offline_reference(data.events, data.items)
        self._pool = offline_pool(data.events, data.items, self._vectors, self._reference, now)
        with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
            self.snapshot = offline_snapshot(data.events, data.items, self._vectors, self._reference, Path(folder), now)
            self.snapshot.warm()  # maps what it needs: the files may go

    def as_of(self, events: pl.DataFrame, moment: datetime) -> dict[str, Portrait]:
        """By user id."""
        table = _arrow(events)
        return offline_portraits(table, self.past.data.items, self._vectors, self._reference, moment, pool=self._pool)


def play(past: Past, policy: RankingPolicy) -> Iterator[pl.DataFrame]:
    """Day by day, one row a session: `user`, `clicks`, `purchases`, `spent`."""
    visitors, own = Visitors(past.shop), [past.events]
    for day in range(LOOP_DAYS):
        sessions = past.visits.filter(pl.col("day") == day)
        if sessions.is_empty():
            continue
        as_of = past.now + timedelta(days=day)
        names = user_ids(sessions["user"].to_numpy())
        known = pl.concat(own).filter(pl.col("user_id").is_in(names.implode()), pl.col("timestamp") < as_of)
        known = known.sort("user_id", "timestamp", maintain_order=True)
        items = policy.rank(sessions, known, visitors, as_of)
        events = visitors.meet(Sessions(sessions["user"].to_numpy(), sessions["time_us"].to_numpy(), items), day)
        own.append(events)
        yield _outcome(sessions.with_columns(user_id=names), events)


def _outcome(sessions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    bought = pl.col("type") == "purchase"
    caused = events.group_by("user_id").agg(
        clicks=(pl.col("type") == "click").sum(),
        purchases=bought.sum(),
        spent=(pl.col("price") * pl.col("quantity")).filter(bought).sum(),
    )
    return sessions.join(caused, on="user_id", how="left").select(
        "user", *(pl.col(name).fill_null(0).cast(pl.Float64) for name in ("clicks", "purchases", "spent"))
    )


def _top(
    score: NDArray, sold: NDArray[np.int64], sessions: pl.DataFrame, events: pl.DataFrame, config: ShopConfig
) -> NDArray[np.int64]:
    """The best PLACES of the items sold, without those that the user has bought: the pipeline leaves them out too."""
    score = np.array(score, np.float64)
    bought = events.filter(pl.col("type") == "purchase")
    row_of = {number: row for row, number in enumerate(sessions["user"].to_list())}
    column_of = {number: column for column, number in enumerate(sold.tolist())}
    users = user_numbers(bought["user_id"].to_list(), config.users).tolist()
    items = item_numbers(bought["item_id"].to_list(), config.items).tolist()
    for user, item in zip(users, items, strict=True):
        if item in column_of:
            score[row_of[user], column_of[item]] = -np.inf
    return sold[np.argsort(-score, axis=1, kind="stable")[:, :PLACES]]


def _arrow(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = [pa.field(f.name, _plain(f.type)) for f in table.schema]
    return table.cast(pa.schema(plain)).combine_chunks()


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.list_(pa.string()) if pa.types.is_large_list(kind) else kind
