"""What every candidate source must keep."""

from pathlib import Path

import numpy as np
import pytest

from services.features.portrait import Portrait, RecentItem, cold_portrait, pack_vector
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_build import build_snapshot, publish
from services.recommend.candidates import Source
from services.recommend.config import PipelineConfig
from services.recommend.sources import CandidateSource, default_sources
from services.recommend.user import UserView, view_user

NOW = 1_763_900_000.0
CONFIG = PipelineConfig()
QUOTAS = {
    Source.LONG_TERM: CONFIG.nearest_quota,
    Source.SHORT_TERM: CONFIG.nearest_quota,
    Source.INTEREST: CONFIG.nearest_quota,
    Source.CONTEXT: max(CONFIG.nearest_quota, CONFIG.item_to_item_quota, CONFIG.category_quota),
    Source.ITEM_TO_ITEM: CONFIG.item_to_item_quota,
    Source.SIMILAR_USERS: CONFIG.similar_users_quota,
    Source.TRENDING: CONFIG.trending_quota,
    Source.CATEGORY: CONFIG.category_quota,
    Source.POPULAR: CONFIG.popular_quota,
    Source.NEWEST: CONFIG.newest_quota,
}
"""Items that a list of a source may hold; the sources that know no user bring more to strangers."""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> ItemSnapshot:
    from benchmarks._synthetic_shop import NOW as BUILT
    from benchmarks._synthetic_shop import synthetic_tables

    folder: Path = tmp_path_factory.mktemp("snapshots")
    return ItemSnapshot.open(publish(folder, build_snapshot(synthetic_tables(300), folder, now=BUILT)))


@pytest.fixture(params=["stranger", "regular", "of items that are gone"])
def user(request: pytest.FixtureRequest, snapshot: ItemSnapshot) -> UserView:
    ids = ["gone-1", "gone-2"] if request.param.startswith("of items") else [snapshot.item_ids[i] for i in range(8)]
    regular = Portrait(
        "ada", NOW, NOW, 8, 0.8, "active",
        space=snapshot.space,
        long_term=pack_vector(snapshot.vectors[0]),
        short_term=pack_vector(snapshot.vectors[1]),
        categories=(("Shelf 3", 0.6), ("Gone", 0.4)),
        recent_items=tuple(RecentItem(item, "view", NOW, 1.0) for item in ids),
        neighbour_items=tuple((item, 0.5) for item in ids),
    )  # fmt: skip
    portrait = cold_portrait("eve", NOW) if request.param == "stranger" else regular
    context = {"item_id": ids[0], "category": "Everything", "colour": ["red"], "item_ids": 7}
    return view_user(portrait, context, snapshot, CONFIG)


@pytest.fixture(params=default_sources(), ids=lambda source: type(source).__name__)
def source(request: pytest.FixtureRequest) -> CandidateSource:
    return request.param


def test_hits_are_items_of_the_snapshot_within_the_quota(
    source: CandidateSource, user: UserView, snapshot: ItemSnapshot
):
    for hits in source.retrieve(user, snapshot, CONFIG):
        assert hits.indices.dtype == np.int32
        assert hits.indices.size <= QUOTAS[hits.source] * (CONFIG.cold_factor if user.cold else 1)
        assert ((hits.indices >= 0) & (hits.indices < snapshot.count)).all()


def test_the_same_user_gets_the_same_hits(source: CandidateSource, user: UserView, snapshot: ItemSnapshot):
    first, second = source.retrieve(user, snapshot, CONFIG), source.retrieve(user, snapshot, CONFIG)
    assert [hits.indices.tolist() for hits in first] == [hits.indices.tolist() for hits in second]


def test_an_empty_shop_is_no_error(source: CandidateSource, tmp_path: Path):
    from benchmarks._synthetic_shop import NOW as BUILT
    from benchmarks._synthetic_shop import synthetic_tables

    tables = synthetic_tables(2)
    empty = type(tables)(
        *(table.slice(0, 0) for table in (tables.items, tables.engagement, tables.vectors, tables.co_engagement))
    )
    shop = ItemSnapshot.open(publish(tmp_path, build_snapshot(empty, tmp_path, now=BUILT)))
    stranger = view_user(cold_portrait("eve", NOW), {}, shop, CONFIG)
    assert all(not hits.indices.size for hits in source.retrieve(stranger, shop, CONFIG))
