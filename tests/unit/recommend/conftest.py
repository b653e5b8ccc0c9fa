from pathlib import Path

import pytest
from recommend_shop import build_shop

from services.features.snapshot import ItemSnapshot
from services.recommend.pipeline import RecommendationPipeline


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ItemSnapshot:
    folder: Path = tmp_path_factory.mktemp("snapshots")
    return build_shop(folder)


@pytest.fixture(scope="session")
def pipeline(shop: ItemSnapshot) -> RecommendationPipeline:
    return RecommendationPipeline(shop)
