"""Examples from served lists: which may teach, what counts as a hit, what it weighs, and that weights are right."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from services.features.served_lists import DATA, MANIFEST, SCHEMA, ListsManifest, file_digest
from services.features.transforms import COLUMN, FEATURES
from services.networks.ranker_config import TASKS
from services.registry.manifest import feature_hash
from services.simulation.config import ShopConfig
from services.simulation.engagement import engage
from services.simulation.pages import Impressions, Surface
from services.simulation.shop import SimulatedShop
from services.simulation.tastes import draw_tastes
from training.configs import RankerSettings
from training.impressions import ImpressionSettings, ServedLists, examples_of, hit_weights, usable
from training.ranker import Examples, fit_ranker, gain_of_hits, ndcg_of_lists

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EXAMINATION = (1.0, 0.5, 0.25)


def row(request_id: str, items: str = "abc", events: tuple[tuple[str, str], ...] = (), **changes: object) -> dict:
    features = np.arange(len(items) * len(FEATURES), dtype="<f4").reshape(len(items), -1)
    values = {
        "request_id": request_id,
        "user_id": f"user of {request_id}",
        "timestamp": NOON,
        "portrait_at": None,
        "snapshot": "s",
        "model_version": "v1",
        "feature_hash": feature_hash(FEATURES),
        "request": b"{}",
        "features": features.tobytes(),
        "item_ids": list(items),
        "scores": [0.0] * len(items),
        "propensities": [1.0] * len(items),
        "event_items": [item for item, _ in events],
        "event_types": [kind for _, kind in events],
        "user_serving__packed": None,
    }
    return values | changes


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


def written(folder: Path, *rows: dict, batch: int = 2) -> Path:
    """A data set as the export writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(str(folder / DATA), SCHEMA) as writer:
        writer.write_table(table(*rows), max_chunksize=batch)
    at = NOON.isoformat()
    manifest = ListsManifest(
        digest=file_digest(folder / DATA), bytes=(folder / DATA).stat().st_size, lists=len(rows), labelled=0,
        without_portrait=0, since=at, until=at, labelled_until=at, feature_service="retrieval", service_hash="h",
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return folder


def test_a_list_becomes_examples_in_its_order_with_what_came_of_it() -> None:
    lists = table(
        row("one", "abc", (("c", "click"), ("c", "purchase"), ("b", "hide"))),
        row("two", "cd", propensities=[1.0, 0.1]),
        row("three", "ab", (("a", "cart"), ("z", "click"))),
    )
    found = examples_of(lists, EXAMINATION, ImpressionSettings(most_weight=10.0))
    assert found.starts.tolist() == [0, 3, 5, 7]
    hits = {(int(place), TASKS[task]) for place, task in np.argwhere(found.hits)}
    assert hits == {(2, "click"), (2, "purchase"), (2, "cart"), (5, "click"), (5, "cart")}
    assert found.features[:3, 0].tolist() == [0, len(FEATURES), 2 * len(FEATURES)]
    assert found.weight.tolist() == [1, 2, 4, 1, 10, 1, 2]  # 1 / (0.5 · 0.1) = 20 is clipped


def test_weights_are_inverse_examination_times_inverse_exploration() -> None:
    position, propensity = np.array([0, 1, 2, 9, 1]), np.float32([1, 1, 1, 1, 0.5])
    weights = hit_weights(position, propensity, EXAMINATION, ImpressionSettings())
    assert weights.tolist() == [1, 2, 4, 4, 4]
    assert hit_weights(position, propensity, EXAMINATION, ImpressionSettings(debias=False)).tolist() == [1] * 5


def test_only_lists_teach_that_a_user_model_of_these_features_retrieved() -> None:
    lists = table(
        row("good"),
        row("blend", model_version="linear-blend"),
        row("old", feature_hash="another"),
        row("measured", user_id="ada"),
        row("cut short", features=b"\0\0\0\0"),
    )
    assert usable(lists, ["ada"])["request_id"].to_pylist() == ["good"]


def test_too_few_clicked_lists_leave_it_to_sampled_candidates(tmp_path: Path) -> None:
    rows = [row(f"r{n}", "abc", (("b", "click"),) if n % 2 else ()) for n in range(10)]
    folder = written(tmp_path / "lists", *rows, batch=3)
    assert ServedLists(folder, EXAMINATION, ImpressionSettings(fewest=6)).examples() is None
    found = ServedLists(folder, EXAMINATION, ImpressionSettings(fewest=5)).examples()
    assert found is not None and len(found) == 10 and found.hits[:, 0].sum() == 5
    assert ServedLists(folder, EXAMINATION, ImpressionSettings(fewest=5)).examples(["user of r1"]) is None
    newest = ServedLists(folder, EXAMINATION, ImpressionSettings(fewest=1, most=4)).examples()
    assert newest is not None and 4 <= len(newest) < 10


def test_gain_of_hits_by_hand() -> None:
    scores, hits = np.float32([3, 2, 1, 1, 2]), np.array([False, True, False, True, False])
    starts, weights = np.array([0, 3, 5]), np.float32([1, 1, 1, 3, 1])
    assert gain_of_hits(scores, hits, starts, weights) == pytest.approx(1 / np.log2(3))
    better = np.float32([3, 4, 1, 1, 2])
    assert gain_of_hits(better, hits, starts, weights) == pytest.approx((1 + 3 / np.log2(3)) / 4)


# On the simulated shop: what a click on a biased list teaches

LISTS, LENGTH = 2_000, 12


@pytest.fixture(scope="module")
def shown() -> tuple[Examples, np.ndarray]:
    """Lists of a shop that puts in front what has nothing to do with taste, clicked by users whose eyes stay high up;
    and the hidden utility of each shown item. One feature tells of the utility, one of the shop's own order."""
    config = ShopConfig(seed=3, users=200, items=300, end=NOON, position_bias=1.2)
    shop, rng = SimulatedShop(config), np.random.default_rng(0)
    tastes = draw_tastes(config, shop.catalogue, 0)
    affinity = shop.true_affinity([f"u{n:07}" for n in range(200)], [f"p{n:07}" for n in range(300)])
    user = rng.integers(0, 200, LISTS)
    liked = np.argsort(-affinity, axis=1)[:, :60]
    item = np.stack([rng.permutation(liked[u])[:LENGTH] for u in user])
    push = -np.sort(-rng.random((LISTS, LENGTH)), axis=1)  # the shop's order
    utility = affinity[user[:, None], item]
    position = np.tile(np.arange(LENGTH), LISTS)
    owner = np.repeat(user, LENGTH)
    nothing, surface = np.full(len(owner), -1), np.full(len(owner), int(Surface.SEARCH))
    page = np.repeat(np.arange(LISTS), LENGTH)
    met = engage(
        config, shop.catalogue, tastes, owner, nothing, surface, Impressions(page, position, item.ravel()), rng
    )
    features = np.zeros((LISTS * LENGTH, len(FEATURES)), np.float16)
    features[:, COLUMN["long_term_cosine"]] = utility.ravel() + rng.normal(0, 0.5, utility.size)
    features[:, COLUMN["popularity"]] = push.ravel()
    hits = np.zeros((len(features), len(TASKS)), bool)
    hits[met.clicks.impression, 0] = True
    return Examples(features, hits, np.arange(0, len(features) + 1, LENGTH)), utility


def nearness(examples: Examples, utility: np.ndarray, weights: np.ndarray) -> float:
    """NDCG of a ranker taught by these clicks, on the lists' own items put in no order at all, against the utility."""
    settings = RankerSettings(hidden=(8, 4), max_epochs=6, learning_rate=0.01, average=0.9, dropout=0.0)
    fitted = fit_ranker(replace(examples, weights=weights), settings, seed=0)
    assert fitted is not None
    features = examples.features.astype(np.float32)
    features[:, COLUMN["popularity"]] = np.random.default_rng(1).permutation(features[:, COLUMN["popularity"]])
    best = (utility == utility.max(axis=1, keepdims=True)).ravel()
    return ndcg_of_lists(fitted.network.logits(features)[:, 0], best, examples.starts)


def test_weighted_clicks_bring_a_ranker_nearer_to_the_hidden_taste(shown: tuple[Examples, np.ndarray]) -> None:
    examples, utility = shown
    position = np.tile(np.arange(LENGTH), LISTS)
    examination = tuple((1.0 + np.arange(LENGTH)) ** -1.2)
    found = {
        debias: nearness(
            examples,
            utility,
            hit_weights(position, np.ones(len(position), np.float32), examination, ImpressionSettings(debias=debias)),
        )
        for debias in (True, False)
    }
    assert found[True] > found[False] + 0.15, found
