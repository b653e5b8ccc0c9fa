"""Search that learns from clicks on the simulated shop, where the truth is known.

Five rounds: the ranker in use orders every query's candidates, shoppers look at a place with a chance that falls with
it and click by the hidden truth; the ranker then learns from all clicks so far. One learner weighs each click by the
inverse of its place's propensity, estimated from the clicks; the other takes clicks at face value. The claims: NDCG@10
against the hidden truth rises in every round, and the debiased learner ends above the other. The figure is the debiased
learner's last NDCG@10 less the other's, the mean over seeds. Run: `python -m benchmarks.search_clicks [--seeds N]`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._click_shop import PAGE, ClickShop, ClickShopConfig
from services.search.features import FEATURES, PLACE
from services.search.ranker import untrained_vector
from training.search_clicks import ShownResults, attraction, click_lists, examination
from training.search_metrics import ndcg
from training.search_ranker import GradedLists, SearchRankerSettings, fit_search_ranker

ROUNDS = 5
SEEDS = 3
BAR = 0.0
SETTINGS = SearchRankerSettings(hidden=(16, 8), members=3, max_epochs=25, patience=25, held_out=0.1, learning_rate=3e-3)


def learn(shop: ClickShop, *, debiased: bool) -> tuple[list[float], NDArray[np.float64]]:
    """NDCG@10 before the first round and after each, and the propensities as estimated last."""
    scores = shop.features @ untrained_vector()
    reached = [quality(shop, scores)]
    seen: list[ShownResults] = []
    lists: list[GradedLists] = []
    propensity = np.ones(PAGE)
    features = shop.features
    for round_ in range(ROUNDS):
        shown = shop.search(scores, round_)
        seen.append(shown)
        everything = _together(seen)
        propensity = examination(everything, PAGE) if debiased else np.ones(PAGE)
        lists.append(click_lists(features, shop.starts, shown, propensity if debiased else None))
        network = fit_search_ranker(_joined(lists), FEATURES, SETTINGS, seed=round_)
        features = with_memory(shop, everything, propensity)
        scores = network.score(features)
        reached.append(quality(shop, scores))
    return reached, propensity


def with_memory(shop: ClickShop, shown: ShownResults, propensity: NDArray[np.float64]) -> NDArray[np.float32]:
    """The features with what earlier shoppers chose: each candidate's attraction against its query's best."""
    worth = attraction(shown, len(shop.features), propensity).reshape(shop.config.queries, -1)
    features = shop.features.copy()
    features[:, PLACE["memory"]] = (worth / worth.max(axis=1, keepdims=True)).ravel()
    return features


def quality(shop: ClickShop, scores: NDArray) -> float:
    """Mean NDCG@10, the gain being the chance of a click on what is looked at."""
    return float(ndcg(scores, shop.truth, shop.starts).mean())


def run(seeds: int = SEEDS, config: ClickShopConfig | None = None) -> dict[str, Any]:
    """Both learners on shops of different seeds."""
    config = ClickShopConfig() if config is None else config
    shops = [ClickShop(replace(config, seed=config.seed + seed)) for seed in range(seeds)]
    ours = [learn(shop, debiased=True) for shop in shops]
    naive = [learn(shop, debiased=False)[0] for shop in shops]
    debiased = np.mean([reached for reached, _ in ours], axis=0)
    face_value = np.mean(naive, axis=0)
    gain = float(debiased[-1] - face_value[-1])
    true = (1.0 + np.arange(PAGE)) ** -config.position_bias
    return {
        "name": "search_clicks",
        "figure": round(gain, 4),
        "bar": BAR,
        "holds": bool(gain > BAR and (np.diff(debiased) > 0).all()),
        "figures": {
            "rounds": ROUNDS,
            "seeds": seeds,
            "searches_per_round": config.queries * config.searches,
            "debiased_ndcg": np.round(debiased, 4).tolist(),
            "face_value_ndcg": np.round(face_value, 4).tolist(),
            "propensity_estimated": np.round(np.mean([curve for _, curve in ours], axis=0), 3).tolist(),
            "propensity_true": np.round(true, 3).tolist(),
        },
    }


def _together(seen: list[ShownResults]) -> ShownResults:
    return ShownResults(*(np.concatenate([getattr(s, name) for s in seen]) for name in ("row", "position", "clicked")))


def _joined(lists: list[GradedLists]) -> GradedLists:
    """The rounds' lists one after the other, each with the features it was ranked by."""
    offsets = np.cumsum([0, *(len(part.gain) for part in lists)])
    starts = [part.starts[:-1] + offset for part, offset in zip(lists, offsets, strict=False)]
    targets = [part.target for part in lists if part.target is not None]
    return GradedLists(
        np.concatenate([part.features for part in lists]),
        np.concatenate([part.gain for part in lists]),
        np.append(np.concatenate(starts), offsets[-1]),
        np.concatenate(targets),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", type=Path, help="write the answer to this file")
    asked = parser.parse_args()
    answer = run(asked.seeds)
    print(json.dumps(answer, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(answer, indent=1) + "\n")
