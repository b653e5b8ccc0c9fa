import pytest
from search_shop import build_index, build_snapshot

from services.features.snapshot import ItemSnapshot
from services.search.index.search_index import SearchIndex
from services.search.pipeline import SearchPipeline
from services.search.synonyms import SynonymFile


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> ItemSnapshot:
    return build_snapshot(tmp_path_factory.mktemp("snapshots"))


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> SearchIndex:
    return build_index(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="session")
def pipeline(snapshot: ItemSnapshot, index: SearchIndex) -> SearchPipeline:
    synonyms = SynonymFile((("sofa", "couch"), ("headphones", "蓝牙耳机"), ("耳机", "耳麦")))
    return SearchPipeline(snapshot, index, synonyms=synonyms)
