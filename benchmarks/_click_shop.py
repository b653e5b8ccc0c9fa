"""Searches in a simulated shop whose users click by position and by a hidden truth."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from services.search.features import FEATURES, PLACE
from services.search.item_terms import ItemTerms
from services.search.item_terms_build import build_item_terms
from services.search.ranker import untrained_vector
from services.search.text.analyser import Analyser
from services.search.text_features import text_features
from services.search.understanding import Alternative, QueryWord, UnderstoodQuery
from services.search.word_match import QueryTerms
from services.simulation.config import ShopConfig
from services.simulation.engagement import examination_propensity
from services.simulation.parameters import behaviour
from services.simulation.shop import SimulatedShop
from services.simulation.vocabulary import vocabulary
from training.search_clicks import ShownResults

PAGE = 10
TASTE = 0.5
"""How much of a category's full liking a shopper has who searches for it."""


@dataclass(frozen=True)
class ClickShopConfig:
    """`noise`: deviation, in places, of the random changes to the order that every search gets."""

    items: int = 2_000
    users: int = 300
    queries: int = 200
    candidates: int = 40
    searches: int = 40
    position_bias: float = 1.0
    noise: float = 1.5
    seed: int = 7


class ClickShop:
    """Queries with candidates. `features` float32 (queries · candidates, F); `truth` float64: P(click | examined)."""

    def __init__(self, config: ClickShopConfig) -> None:
        self.config = config
        shop = SimulatedShop(
            ShopConfig(end=datetime(2026, 11, 20, tzinfo=UTC), users=config.users, items=config.items, seed=config.seed)
        )
        rng = np.random.default_rng(config.seed)
        items = pl.concat(shop.items())
        analyser = Analyser()
        terms = build_item_terms(items["title"].to_list(), analyser)
        engagement = _engagement(shop, items["item_id"])
        parts, truths = [], []
        for query in _queries(shop, config.queries, rng):
            features = _features(query.text, terms, analyser, engagement)
            chosen = np.argsort(-(features @ untrained_vector()), kind="stable")[: config.candidates]
            parts.append(features[chosen])
            truths.append(_attraction(shop, query, chosen))
        self.features, self.truth = np.concatenate(parts), np.concatenate(truths)
        self.starts = np.arange(config.queries + 1) * config.candidates

    def search(self, scores: NDArray, round_: int) -> ShownResults:
        """The clicks of one round: every query is searched for `searches` times in about this order."""
        config = self.config
        rng = np.random.default_rng([config.seed, round_])
        shape = (config.queries, config.searches, config.candidates)
        rank = np.argsort(np.argsort(-scores.reshape(config.queries, -1), axis=1, kind="stable"), axis=1)
        noisy = rank[:, None, :] + rng.normal(0, config.noise, shape)
        page = np.argsort(noisy, axis=2, kind="stable")[:, :, :PAGE]
        row = page + self.starts[:-1, None, None]
        position = np.broadcast_to(np.arange(PAGE), row.shape)
        examined = rng.random(row.shape) < examination_propensity(position, config.position_bias)
        clicked = examined & (rng.random(row.shape) < self.truth[row])
        return ShownResults(row.ravel(), position.ravel(), clicked.ravel())


@dataclass(frozen=True)
class _Query:
    text: str
    leaf: int
    colour: int
    brand: int


def _queries(shop: SimulatedShop, count: int, rng: np.random.Generator) -> list[_Query]:
    """Words of a category, some with a colour or brand that the shop has there."""
    words, catalogue = vocabulary(), shop.catalogue
    found = []
    for item in rng.permutation(len(catalogue.leaf))[:count].tolist():
        leaf = int(catalogue.leaf[item])
        word = words.queries.flat[int(words.queries.draw(np.array([leaf]), rng.random(1))[0])]
        kind = rng.integers(3)
        colour = int(catalogue.colour[item]) if kind == 1 and not words.leaf_packaged[leaf] else -1
        brand = int(catalogue.brand[item]) if kind == 2 else -1
        said = [words.colour_names[colour]] if colour >= 0 else [words.brand_names[brand].lower()] if brand >= 0 else []
        found.append(_Query(" ".join([*said, word]), leaf, colour, brand))
    return found


def _attraction(shop: SimulatedShop, query: _Query, items: NDArray) -> NDArray[np.float64]:
    """P(click | examined) of the items for a shopper with this query: the simulation's utility and its click model."""
    weights, catalogue = behaviour().utility, shop.catalogue
    utility = (weights.intent + TASTE * weights.category) * (catalogue.leaf[items] == query.leaf)
    utility = utility + weights.brand * ((catalogue.brand[items] == query.brand) & (query.brand >= 0))
    utility += weights.colour * ((catalogue.colour[items] == query.colour) & (query.colour >= 0))
    utility += weights.quality * catalogue.quality[items]
    utility -= weights.price * np.minimum(catalogue.price_level[items] ** 2, 4.0)
    return np.asarray(behaviour().click.probability(utility), np.float64)


def _engagement(shop: SimulatedShop, item_ids: pl.Series) -> dict[str, NDArray[np.float32]]:
    """What the shop's earlier events say of its items: popularity and rating on the scales of the serving features."""
    events = pl.concat(shop.events())
    counts = events.filter(pl.col("type").cast(pl.String).is_in(["click", "cart", "purchase"]))
    by_item = counts.group_by("item_id").len()
    stars = (
        events.filter(pl.col("rating").is_not_null())
        .group_by("item_id")
        .agg(rating=(pl.col("rating") - 3).sum() / (2 * (pl.len() + 5)))
    )
    table = pl.DataFrame({"item_id": item_ids}).join(by_item, "item_id", "left").join(stars, "item_id", "left")
    known = np.log1p(table["len"].fill_null(0).to_numpy())
    return {
        "popularity": (known / max(known.max(), 1e-9)).astype(np.float32),
        "rating": table["rating"].fill_null(0).to_numpy().astype(np.float32),
    }


def _features(
    text: str, terms: ItemTerms, analyser: Analyser, engagement: dict[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """float32 (items, F) of one query; what this small shop does not have stays 0."""
    words = tuple(
        QueryWord(token.text, tuple(Alternative(term) for term in token.terms[:1]), str(token.kind))
        for token in analyser.tokens(text)
    )
    rows = np.arange(len(terms.lengths), dtype=np.int32)
    features = np.zeros((len(rows), len(FEATURES)), np.float32)
    for name, values in text_features(QueryTerms.of(UnderstoodQuery(text, text, words), terms), terms, rows).items():
        features[:, PLACE[name]] = values
    for name, values in engagement.items():
        features[:, PLACE[name]] = values
    return features
