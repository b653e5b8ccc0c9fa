"""How much of the hidden taste portraits recover, and what the lists made from them are worth to a simulated shop.

Sessions of two weeks are served by popularity, the linear blend, the learned system and an oracle that knows the taste,
each in a world of its own with the same luck. Claim: the learned system earns more clicks a session than the blend,
beyond the 95% interval of the difference over users. Run: `python -m benchmarks.closed_loop [--json OUT]`.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks._closed_loop import Oracle, Past, Popular, Portraits, RankingPolicy, Served, play
from services.features.portrait import Portrait, unpack_vector
from services.profiles.co_engagement import co_engagement_pairs
from services.profiles.offline import offline_serving
from services.profiles.reference import ReferenceStatistics
from services.recommend.learned import LearnedRanker
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.queries import LearnedQueries
from services.registry.artefact import LoadedModel
from services.registry.registry import ModelRegistry
from services.simulation.config import ShopConfig
from services.simulation.recovery import spearman, taste_correlations
from training.bootstrap import bootstrap_means
from training.publish import Builders, ShopData, train_and_publish

SHOP = ShopConfig(
    end=datetime(2026, 11, 1, tzinfo=UTC), users=4_000, items=2_000, days=104, seed=11, events_per_user=115.0
)
"""Ninety days of past with about as many events a user as the default shop's, and two weeks of sessions."""
BAR = 1.0
"""Of the learned system's clicks a session over the blend's."""
COMPARED_USERS = 1_000
RESAMPLES = 2_000


def run(shop: ShopConfig = SHOP, config: str = "default") -> dict[str, Any]:
    """Recovered taste, and clicks and purchases a session of each policy."""
    past = Past.of(shop)
    portraits = Portraits(past)
    model = trained(past, config)
    blend = RecommendationPipeline(portraits.snapshot)
    queries = LearnedQueries(model.user_model, model.words, portraits.snapshot)
    ranker = None if model.ranker is None else LearnedRanker(model.ranker, "1")
    learned = RecommendationPipeline(portraits.snapshot, ranker, queries=queries)
    policies: dict[str, RankingPolicy] = {
        "popularity": Popular(past),
        "linear-blend": Served(past, portraits, blend),
        "learned": Served(past, portraits, learned),
        "oracle": Oracle(past),
    }
    worth = {name: pl.concat(play(past, policy)) for name, policy in policies.items()}
    figures = {
        "sessions": len(next(iter(worth.values()))),
        "per_session": {name: per_session(frame) for name, frame in worth.items()},
        "share_of_oracle": {
            f"{metric} over {base}": share(worth, metric, base)
            for metric in ("clicks", "purchases")
            for base in ("popularity", "linear-blend")
        },
        "difference_learned_blend": {
            metric: difference(worth, "learned", "linear-blend", metric) for metric in ("clicks", "purchases")
        },
        "recovered_taste": recovered(past, portraits, queries),
        "model": {
            "config": config,
            "target": model.manifest.data.target,
            "ndcg@10": model.manifest.metrics["ndcg@10"].mean,
            "gain_over_blend": model.manifest.gain.mean,
        },
    }
    clicks = {name: found["clicks"]["mean"] for name, found in figures["per_session"].items()}
    return {
        "name": "closed_loop",
        "figure": round(clicks["learned"] / clicks["linear-blend"], 3),
        "bar": BAR,
        "holds": figures["difference_learned_blend"]["clicks"]["low"] > 0,
        "figures": figures,
    }


def trained(past: Past, config: str) -> LoadedModel:
    """The learned models, as `portrait train` would have published them at the past's end."""
    data, table = past.data, past.data.vector_table()
    builders = Builders(
        pairs=lambda events, ids: co_engagement_pairs([events], ids, ReferenceStatistics.defaults()),
        serving=lambda known, history: offline_serving(known, history, data.items, table),
    )
    with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
        registry = ModelRegistry(Path(folder))
        shop = ShopData(data.source, data.events, data.item_ids, data.vectors, data.items)
        return registry.load(train_and_publish(shop, builders, registry, config=config, space=data.space).version)


def recovered(past: Past, portraits: Portraits, queries: LearnedQueries) -> dict[str, Any]:
    """Spearman's correlation of each user's portrait with the hidden taste, at the past's end."""
    events = past.events.sort("user_id", "timestamp", maintain_order=True)
    made = portraits.as_of(events, past.now)
    tastes = past.shop.tastes()
    found: dict[str, NDArray[np.float64]] = {}
    for of in ("categories", "brands"):
        weights = {user: dict(getattr(portrait, of)) for user, portrait in made.items()}
        found[of] = taste_correlations(weights, tastes, of)[1]
    found |= _item_correlations(past, portraits, queries, made)
    return {name: _spread(values) for name, values in found.items()}


def _item_correlations(
    past: Past, portraits: Portraits, queries: LearnedQueries, made: dict[str, Portrait]
) -> dict[str, NDArray[np.float64]]:
    """Of scores of all items with their hidden utility for a user (what he is looking for now left out)."""
    users = sorted(made)[:: max(1, len(made) // COMPARED_USERS)]
    snapshot = portraits.snapshot
    truth = past.shop.true_affinity(users, list(snapshot.item_ids))
    scores: dict[str, list[NDArray]] = {"items, by long-term vector": [], "items, by learned query": []}
    nothing = np.zeros(snapshot.count, np.float32)
    for user in users:
        portrait = made[user]
        vector, query = unpack_vector(portrait.long_term), queries.query(portrait)
        scores["items, by long-term vector"].append(
            nothing if vector is None else np.asarray(snapshot.vectors) @ vector
        )
        scores["items, by learned query"].append(nothing if query is None else queries.vectors @ query)
    return {name: spearman(np.array(rows), truth) for name, rows in scores.items()}


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    interval = bootstrap_means({"": values}, resamples=RESAMPLES)[""]
    low, middle, high = np.nanpercentile(values, [25, 50, 75])
    return _rounded(
        users=float(np.isfinite(values).sum()), mean=interval.mean, low=interval.low, high=interval.high,
        quarter=low, median=middle, three_quarters=high,
    )  # fmt: skip


def per_session(frame: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Means with 95% intervals over users."""
    return {metric: _interval(_means({"": frame}, metric)[""]) for metric in ("clicks", "purchases", "spent")}


def difference(worth: dict[str, pl.DataFrame], one: str, other: str, metric: str) -> dict[str, float]:
    """Of two policies' means, over the same resamples of users."""
    means = _means(worth, metric)
    return _interval(means[one] - means[other])


def share(worth: dict[str, pl.DataFrame], metric: str, base: str) -> dict[str, float]:
    """(learned − base) / (oracle − base)."""
    means = _means(worth, metric)
    return _interval((means["learned"] - means[base]) / (means["oracle"] - means[base]))


def _means(worth: dict[str, pl.DataFrame], metric: str) -> dict[str, NDArray[np.float64]]:
    """Means a session: first of all users, then of resamples of the users, the same for every policy."""
    found, weights = {}, None
    for name, frame in worth.items():
        users = frame.group_by("user").agg(pl.col(metric).sum(), sessions=pl.len()).sort("user")
        if weights is None:
            drawn = np.random.default_rng(0).multinomial(len(users), np.full(len(users), 1 / len(users)), RESAMPLES)
            weights = np.concatenate((np.ones((1, len(users))), drawn))
        found[name] = (weights @ users[metric].to_numpy()) / (weights @ users["sessions"].to_numpy())
    return found


def _interval(means: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.percentile(means[1:], [2.5, 97.5])
    return _rounded(mean=means[0], low=low, high=high)


def _rounded(**values: float) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in values.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the answer to this file")
    parser.add_argument("--users", type=int, default=SHOP.users)
    parser.add_argument("--config", default="default", help="of the learned models")
    asked = parser.parse_args()
    answer = run(replace(SHOP, users=asked.users), asked.config)
    print(json.dumps(answer, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(answer, indent=1) + "\n")
