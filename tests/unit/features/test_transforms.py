"""User × item features: each value worked out by hand."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.names import ENGAGEMENT_FEATURES
from services.features.portrait import (
    Interest,
    Portrait,
    PriceAffinity,
    RecentItem,
    cold_portrait,
    pack_vector,
)
from services.features.portrait_view import RECENT_DECAY, SparseScores, view_portrait
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot
from services.features.snapshot_tables import SnapshotTables
from services.features.transforms import COLUMN, FEATURES, user_item_features

NOW = 1_800_000_000.0
DAY = 86_400.0
MOMENT = pa.timestamp("us", tz="UTC")
ALL = np.arange(3, dtype=np.int32)


def shop() -> SnapshotTables:
    """`a`: red, 10 EUR, popular; `b`: blue, 40 EUR, 30 days old, trending, rated 5 by 5; `c`: nothing known."""
    engagement = {
        "a": {"popularity": 0.5, "click_rate": 0.1, "purchase_rate": 0.05, "trend": 1.0},
        "b": {"popularity": 0.25, "trend": 8.0, "rating_mean": 5.0, "rating_count": 5.0, "sentiment_mean": 0.5},
    }
    schema = pa.schema([("item_id", pa.string()), *((name, pa.float32()) for name in ENGAGEMENT_FEATURES)])
    published = datetime.fromtimestamp(NOW - 30 * DAY, UTC)
    return SnapshotTables(
        items=pa.table(
            {
                "item_id": ["a", "b", "c"],
                "title": ["A", "B", "C"],
                "brand": ["Acme", "Zed", None],
                "categories": pa.array([["Care", "Skin"], ["Care", "Hair"], []], pa.list_(pa.string())),
                "price": pa.array([10.0, 40.0, None]),
                "currency": ["EUR"] * 3,
                "attributes": ["{}"] * 3,
                "available": [True, True, False],
                "published_at": pa.array([None, published, None], MOMENT),
            }
        ),
        engagement=pa.Table.from_pylist([{"item_id": i, **v} for i, v in engagement.items()], schema=schema),
        vectors=pa.table(
            {
                "item_id": ["a", "b"],
                "space": ["s", "s"],
                "vector": pa.array([np.array(v, "<f4").tobytes() for v in ([1, 0], [0.6, 0.8])], pa.binary()),
            }
        ),
        co_engagement=pa.table(
            {
                "item_id": ["a", "b"],
                "neighbour_id": ["b", "a"],
                "score": pa.array([0.5, 0.25], pa.float32()),
            }
        ),
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> ItemSnapshot:
    folder: Path = tmp_path_factory.mktemp("snapshots")
    return ItemSnapshot.open(folder / build_snapshot(shop(), folder, now=datetime(2027, 1, 1, tzinfo=UTC)))


PORTRAIT = Portrait(
    user_id="u",
    as_of=NOW,
    newest_event=NOW,
    event_count=3,
    confidence=0.75,
    lifecycle="active",
    space="s",
    long_term=pack_vector(np.array([1.0, 0.0])),
    short_term=pack_vector(np.array([0.0, 1.0])),
    interests=(Interest("b", 1.0, "Hair"), Interest("unknown", 0.5, "?")),
    categories=(("Skin", 0.6), ("Care", 0.2), ("Nowhere", 0.9)),
    brands=(("Zed", 0.4),),
    price=PriceAffinity(20.0, 10.0, 40.0),
    recent_items=(
        RecentItem("c", "view", NOW, -1.0),
        RecentItem("b", "purchase", NOW - 7 * DAY, 2.0),
        RecentItem("unknown", "view", NOW, 1.0),
        RecentItem("a", "view", NOW - 14 * DAY, 1.0),
    ),
    neighbour_items=(("c", 0.3), ("unknown", 0.9)),
)


def features(portrait: Portrait, snapshot: ItemSnapshot, **kwargs: object) -> dict[str, list[float]]:
    view = view_portrait(portrait, snapshot)
    found = user_item_features(view, snapshot, ALL, kwargs.get("retrieval"), NOW)
    assert found.dtype == np.float32
    return {name: np.round(found[:, column].astype(float), 5).tolist() for name, column in COLUMN.items()}


def test_cosines_are_those_of_the_users_vectors(snapshot: ItemSnapshot) -> None:
    found = features(PORTRAIT, snapshot)
    assert found["long_term_cosine"] == pytest.approx([1.0, 0.6, 0.0], abs=0.005)
    assert found["short_term_cosine"] == pytest.approx([0.0, 0.8, 0.0], abs=0.005)
    assert found["interest_cosine"] == pytest.approx([0.6, 1.0, 0.0], abs=0.005)
    assert found["query_cosine"] == [0.0, 0.0, 0.0]


def test_a_learned_query_vector_gives_its_own_cosine(snapshot: ItemSnapshot) -> None:
    view = view_portrait(PORTRAIT, snapshot)
    given = np.array([0.5, -0.2, 0.0], np.float32)
    column = user_item_features(view, snapshot, ALL, None, NOW, given)[:, COLUMN["query_cosine"]]
    assert column.tolist() == given.tolist()


def test_vectors_of_another_space_are_not_compared(snapshot: ItemSnapshot) -> None:
    import msgspec

    found = features(msgspec.structs.replace(PORTRAIT, space="other"), snapshot)
    assert found["long_term_cosine"] == found["short_term_cosine"] == [0.0, 0.0, 0.0]
    assert found["interest_cosine"] == pytest.approx([0.6, 1.0, 0.0], abs=0.005)  # medoids are items of this snapshot


def test_affinities_take_the_heaviest_category_and_the_brand(snapshot: ItemSnapshot) -> None:
    found = features(PORTRAIT, snapshot)
    assert found["category_affinity"] == [0.6, 0.2, 0.0]
    assert found["brand_affinity"] == [0.0, 0.4, 0.0]


def test_price_fit_falls_with_the_distance_in_band_widths(snapshot: ItemSnapshot) -> None:
    # half the band in logarithms is ln 4 / 2 = ln 2: both prices are one width from 20
    assert features(PORTRAIT, snapshot)["price_fit"] == [round(math.exp(-0.5), 5)] * 2 + [0.0]


def test_item_to_item_sums_decayed_scores_of_positive_recent_items(snapshot: ItemSnapshot) -> None:
    # b is the newest positive item (rank 0), a the next known one (rank 1)
    assert features(PORTRAIT, snapshot)["item_to_item"] == pytest.approx([0.25, RECENT_DECAY * 0.5, 0.0], abs=1 / 510)


def test_similar_users_items_have_their_score(snapshot: ItemSnapshot) -> None:
    assert features(PORTRAIT, snapshot)["neighbour_score"] == [0.0, 0.0, 0.3]


def test_recency_halves_every_week(snapshot: ItemSnapshot) -> None:
    assert features(PORTRAIT, snapshot)["recency"] == [0.25, 0.5, 1.0]


def test_engagement_is_put_on_scales_where_zero_is_as_expected(snapshot: ItemSnapshot) -> None:
    found = features(PORTRAIT, snapshot)
    assert found["popularity"] == [0.5, 0.25, 0.0]
    assert found["click_rate"] == [0.1, 0.0, 0.0]
    assert found["purchase_rate"] == [0.05, 0.0, 0.0]
    assert found["trend"] == [0.0, 1.0, 0.0]
    assert found["rating"] == [0.0, 0.5, 0.0]  # (5 − 3) / 2 · 5 / (5 + 5)
    assert found["sentiment"] == [0.0, 0.5, 0.0]


def test_freshness_halves_every_thirty_days_and_availability_is_told(snapshot: ItemSnapshot) -> None:
    found = features(PORTRAIT, snapshot)
    assert found["freshness"] == [0.0, 0.5, 0.0]
    assert found["available"] == [1.0, 1.0, 0.0]
    assert found["confidence"] == [0.75] * 3


def test_retrieval_scores_are_passed_through(snapshot: ItemSnapshot) -> None:
    found = features(PORTRAIT, snapshot, retrieval=np.array([0.1, 0.2, 0.3], np.float32))
    assert found["retrieval_score"] == [0.1, 0.2, 0.3]


def test_a_cold_user_has_item_features_alone(snapshot: ItemSnapshot) -> None:
    found = features(cold_portrait("new", NOW), snapshot)
    rates = {"popularity", "trend", "click_rate", "purchase_rate", "rating", "sentiment"}
    assert {name for name, values in found.items() if any(values)} == rates | {"freshness", "available"}


def test_no_items_give_no_rows(snapshot: ItemSnapshot) -> None:
    view = view_portrait(PORTRAIT, snapshot)
    assert user_item_features(view, snapshot, np.empty(0, np.int32), None, NOW).shape == (0, len(FEATURES))


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_that_is_wanted_alone_is_the_same(snapshot: ItemSnapshot, name: str) -> None:
    view, given = view_portrait(PORTRAIT, snapshot), np.array([0.5, -0.2, 0.0], np.float32)
    every = user_item_features(view, snapshot, ALL, given, NOW, given)
    alone = user_item_features(view, snapshot, ALL, given, NOW, given, frozenset({name}))
    np.testing.assert_allclose(alone[:, COLUMN[name]], every[:, COLUMN[name]], atol=1e-6)


def test_features_do_not_depend_on_the_other_candidates(snapshot: ItemSnapshot) -> None:
    view = view_portrait(PORTRAIT, snapshot)
    together = user_item_features(view, snapshot, ALL, None, NOW)
    for index in ALL:
        alone = user_item_features(view, snapshot, np.array([index], np.int32), None, NOW)
        np.testing.assert_allclose(alone[0], together[index], atol=1e-6)


positive = st.floats(0, 1e6, allow_nan=False)


@given(
    price=st.tuples(positive, positive, positive),
    weights=st.lists(st.floats(-1e3, 1e3), max_size=3),
    time=st.floats(0, 4e9),
)
def test_nothing_a_portrait_holds_makes_a_feature_infinite(
    snapshot: ItemSnapshot, price: tuple[float, float, float], weights: list[float], time: float
) -> None:
    recent = tuple(RecentItem("abc"[n], "view", time, weight) for n, weight in enumerate(weights))
    portrait = Portrait("u", NOW, None, 0, 0.0, "new", price=PriceAffinity(*price), recent_items=recent)
    found = user_item_features(view_portrait(portrait, snapshot), snapshot, ALL, None, NOW)
    assert np.isfinite(found).all()


def test_sparse_scores_are_zero_for_what_they_do_not_hold() -> None:
    held = SparseScores(np.array([2, 5], np.int32), np.array([0.2, 0.5], np.float32))
    np.testing.assert_allclose(held.of(np.array([0, 2, 5, 9], np.int32)), [0, 0.2, 0.5, 0])
    none = SparseScores(np.empty(0, np.int32), np.empty(0, np.float32))
    assert none.of(np.array([1], np.int32)).tolist() == [0.0]
