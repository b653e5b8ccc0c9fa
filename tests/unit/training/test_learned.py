"""The learned models, trained for real on a small shop whose rule they have to find."""

import numpy as np
import pyarrow as pa
import pytest

from services.core import columns
from services.features.transforms import FEATURES
from services.profiles.offline import newest_time, offline_portraits, offline_reference, offline_serving
from services.profiles.shop_data import EvaluationData
from services.recommend.queries import LearnedQueries, snapshot_inputs
from training.compare import Builders, ShopData, compare, make_split
from training.configs import run_config
from training.event_log import make_event_log
from training.explanations import deletion_test
from training.learned import LearnedModels, LearnedPipeline
from training.pipeline import PipelineInputs
from training.ranker import Examples, calibration_error, collect, later_items, ndcg_of_lists, platt
from training.sequences import tokens_of
from training.splits import Split, hold_out_last
from training.user_model import Catalogue, queries_of

ITEMS, USERS, STEPS = 60, 500, 6
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def data() -> ShopData:
    """Whoever buys item n buys item n + 7 next, mostly: neither text nor popularity tells, only order does."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, ITEMS, USERS)
    item = (start[:, None] + 7 * np.arange(STEPS)) % ITEMS
    item = np.where(rng.random(item.shape) < 0.1, rng.integers(0, ITEMS, item.shape), item)
    ids = [f"item-{n:02d}" for n in range(ITEMS)]
    events = pa.table(
        {
            "user_id": np.repeat([f"user-{n:03d}" for n in range(USERS)], STEPS),
            "item_id": [ids[n] for n in item.ravel()],
            "type": ["purchase"] * (USERS * STEPS),
            "timestamp": pa.array(np.tile(np.arange(STEPS), USERS) * DAY, pa.timestamp("us", "UTC")),
        }
    )
    items = pa.table(
        {
            "item_id": ids,
            "title": ids,
            "description": pa.nulls(ITEMS, pa.string()),
            "brand": ["Hale" if n % 2 else None for n in range(ITEMS)],
            "categories": pa.array([[f"shelf {n % 5}", "all"] for n in range(ITEMS)], pa.list_(pa.string())),
            "price": [None if n % 9 == 0 else float(n) for n in range(ITEMS)],
            "currency": ["EUR"] * ITEMS,
            "attributes": ["{}"] * ITEMS,
            "available": [True] * ITEMS,
            "published_at": pa.nulls(ITEMS, pa.timestamp("us", "UTC")),
        }
    )
    vectors = rng.normal(size=(ITEMS, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ShopData("shop", events, items[columns.ITEM_ID].combine_chunks(), vectors, items)


def serving(data: ShopData, split: Split) -> PipelineInputs:
    table = EvaluationData("shop", data.events, data.items, data.vectors, "by-hand").vector_table()
    return PipelineInputs(*offline_serving(split.fit_events(), split.history_events(), data.items, table))


@pytest.fixture(scope="module")
def models(data: ShopData) -> LearnedModels:
    return LearnedModels(Catalogue.of(data.items, data.vectors), run_config("small"))


@pytest.fixture(scope="module")
def pipeline(data: ShopData, models: LearnedModels) -> LearnedPipeline:
    made = LearnedPipeline(lambda split: serving(data, split), models, seed=0)
    made.fit(make_split(data, "leave-one-out", "test"))
    return made


def test_what_is_held_out_is_the_last_target_of_the_fit_part(data: ShopData) -> None:
    split = make_split(data, "leave-one-out", "test")
    held = hold_out_last(split)
    assert len(held.users) == USERS
    assert not (held.fit & ~split.fit).any() and not held.fit[held.targets].any()
    assert (held.targets + 1 == split.targets).all()  # the one before the target that tests
    assert not held.fit[split.targets].any()


def test_the_pipeline_learns_what_follows_what(data: ShopData, pipeline: LearnedPipeline) -> None:
    builders = Builders(pairs=lambda *_: None, serving=lambda *_: None)
    split = pipeline.split
    recall = (pipeline.recommend(split.users, 10) == split.target_items[1][:, None]).any(axis=1).mean()
    popularity = compare(data, builders, models="popularity").results[0].metrics["recall@10"].mean
    assert recall > 0.6 > 2 * popularity


def test_serving_computes_the_query_that_evaluation_measures(
    data: ShopData, pipeline: LearnedPipeline, models: LearnedModels
) -> None:
    split = pipeline.split
    final = models.user_models(split, 0).final
    theirs = queries_of(final, tokens_of(split, split.history), split.users[:20])
    queries = LearnedQueries(final.model, final.words, pipeline.inputs.snapshot)
    assert (queries.vectors * final.vectors).sum(axis=1).min() > 0.999  # the snapshot's vectors have eight bits
    compared = 0
    for row, user in enumerate(split.users[:20].tolist()):
        portrait = pipeline.portrait_of(user)
        if len(portrait.recent_items) == STEPS - 1:  # no item twice
            assert queries.query(portrait) @ theirs[row] > 0.999
            compared += 1
    assert compared > 10


def test_items_of_a_snapshot_and_of_a_catalogue_are_the_same_inputs(
    data: ShopData, pipeline: LearnedPipeline, models: LearnedModels
) -> None:
    words = models.user_models(pipeline.split, 0).final.words
    ours = snapshot_inputs(words, pipeline.inputs.snapshot)
    theirs = Catalogue.of(data.items, data.vectors).inputs(words)
    for name in ("brand", "price", "id", "count"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert np.array_equal(np.sort(ours.categories), np.sort(theirs.categories))
    assert np.allclose(ours.content, theirs.content, atol=0.005)


def test_probabilities_are_calibrated(pipeline: LearnedPipeline, models: LearnedModels) -> None:
    fits = models.user_models(pipeline.split, 0)
    fresh = LearnedPipeline(pipeline._build, models, seed=0)
    fresh.prepare(fits.held, fits.earlier)
    examples = collect(fits.held, fresh.candidates, fits.held.users[:200])
    foretold = pipeline.ranker.log_odds(examples.features.astype(np.float32))[:, 2]
    assert calibration_error(foretold, examples.hits[:, 2]) < 0.01


def test_examples_are_labelled_by_what_came_later(data: ShopData) -> None:
    split = hold_out_last(make_split(data, "leave-one-out", "test"))
    later = later_items(split)
    users, items = split.users[:5], split.target_items[1][:5]
    assert [later["purchase"][user].tolist() for user in users.tolist()] == [[item] for item in items.tolist()]
    every = np.arange(ITEMS, dtype=np.int32), np.zeros((ITEMS, len(FEATURES)), np.float32)
    found = collect(split, lambda user: every, users)
    lists = [found.hits[a:b, 2] for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)]
    assert [np.flatnonzero(hits).tolist() for hits in lists] == [[item] for item in items.tolist()]


def test_calibration_finds_the_odds_and_stays_finite_where_hits_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 40_000)
    hits = rng.random(40_000) < 1 / (1 + np.exp(-(0.5 * logits - 3)))
    assert platt(logits, hits) == pytest.approx([0.5, -3], abs=0.1)
    slope, offset = platt(np.array([-40.0, -3, -2, 2, 50]), np.array([False, False, False, True, True]))
    assert 0 < slope < 5 and abs(offset) < 5


def test_ndcg_of_lists_by_hand() -> None:
    scores = np.float32([3, 2, 1, 1, 2])
    hits = np.array([False, True, False, True, False])
    starts = np.array([0, 3, 5])
    assert ndcg_of_lists(scores, hits, starts) == pytest.approx(1 / np.log2(3))
    lists = Examples(np.arange(5, dtype=np.float16)[:, None], np.tile(hits[:, None], 3), starts)
    taken = lists.take(np.array([1]))
    assert (taken.features[:, 0].tolist(), taken.starts.tolist()) == ([3.0, 4.0], [0, 2])


def test_events_that_a_reason_names_matter_more_than_others(data: ShopData, pipeline: LearnedPipeline) -> None:
    split = pipeline.split
    table = EvaluationData("shop", data.events, data.items, data.vectors, "by-hand").vector_table()
    reference = offline_reference(split.fit_events(), data.items)
    as_of = newest_time(split.history_events())

    def portraits(events: pa.Table) -> dict:
        return offline_portraits(events, data.items, table, reference, as_of)

    found = deletion_test(pipeline, split, split.users[:150], portraits)
    assert len(found.named) > 50
    _, low, _ = found.interval()
    assert low > 0


def test_nothing_that_came_later_reaches_the_features(
    data: ShopData, pipeline: LearnedPipeline, models: LearnedModels
) -> None:
    fits = models.user_models(pipeline.split, 0)
    later = ~fits.held.history
    items = np.array(data.events["item_id"].to_pylist(), object)
    items[later] = np.random.default_rng(1).choice(items, later.sum())
    altered = data.events.set_column(1, "item_id", pa.array(items.tolist(), pa.string()))
    log = make_event_log(altered, data.item_ids)
    other = Split(fits.held.name, log, fits.held.fit, fits.held.history, fits.held.targets)
    seen = []
    for split in (fits.held, other):
        fresh = LearnedPipeline(pipeline._build, models, seed=0)
        fresh.prepare(split, fits.earlier)
        seen.append([fresh.candidates(user) for user in split.users[:20].tolist()])
    for (ours, features), (theirs, same) in zip(*seen, strict=True):
        assert np.array_equal(ours, theirs) and np.array_equal(features, same)
