from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search_shop import IDS, SECONDS, build_index, build_snapshot, portrait, vector

from services.core.errors import CorruptArtefact
from services.networks.numpy_search_ranker import NumpySearchRanker
from services.search.features import FEATURES, PLACE, TEXT_FEATURES, USER_FEATURES, query_item_features
from services.search.item_terms import ItemTerms
from services.search.item_terms_build import build_item_terms
from services.search.item_terms_store import item_terms_of
from services.search.judged import ResultList, list_features
from services.search.pipeline import SearchPipeline
from services.search.ranker import LearnedSearchRanker, UntrainedRanker, untrained_vector
from services.search.request import SearchRequest
from services.search.text.analyser import Analyser
from services.search.text_features import text_features
from services.search.word_match import QueryTerms


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchPipeline, ItemTerms]:
    folder: Path = tmp_path_factory.mktemp("shop")
    snapshot, index = build_snapshot(folder / "snapshots"), build_index(folder / "search")
    terms = item_terms_of(snapshot, index.analyser, folder / "search")
    assert np.array_equal(item_terms_of(snapshot, index.analyser, folder / "search").codes, terms.codes)
    return SearchPipeline(snapshot, index, UntrainedRanker(terms)), terms


def found(shop: tuple[SearchPipeline, ItemTerms], query: str, **changes: object) -> list[str]:
    user = portrait(**changes) if changes else None
    return shop[0].search(user, SearchRequest(query), None, SECONDS).item_ids


def test_what_is_named_comes_before_what_is_named_after_it(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    assert found(shop, "table")[:2] == ["a2", "a1"], "a side table before a dining table with sizes, then a table lamp"
    assert found(shop, "table lamp")[0] == "a3"


def test_a_taste_for_a_brand_decides_between_equals_unless_a_model_is_named(
    shop: tuple[SearchPipeline, ItemTerms],
) -> None:
    asked = shop[0].judge(
        portrait(brands=(("Nord", 1.0),)), SearchRequest("furniture"), None, SECONDS, np.arange(5, dtype=np.int32)
    )
    features = query_item_features(asked, shop[1])
    assert features[0, PLACE["brand_affinity"]] > 0 == features[3, PLACE["brand_affinity"]]
    exact = shop[0].judge(
        portrait(brands=(("Nord", 1.0),)), SearchRequest("dcd771c2"), None, SECONDS, np.arange(5, dtype=np.int32)
    )
    columns = [PLACE[name] for name in USER_FEATURES]
    assert not query_item_features(exact, shop[1])[:, columns].any()


def test_memory_lifts_what_people_who_asked_this_took(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    asked = shop[0].judge(None, SearchRequest("oak"), None, SECONDS, np.array([0, 1], np.int32))
    ranker = UntrainedRanker(shop[1])
    plain = ranker.rank(asked).scores
    lifted = ranker.rank(replace(asked, memory=np.array([0, 1], np.float32))).scores
    assert lifted[1] - plain[1] == pytest.approx(ranker.weights.memory) and lifted[0] == plain[0]


def test_contributions_of_the_untrained_ranker_sum_to_its_score(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    asked = shop[0].candidates(portrait(), SearchRequest("oak table"), vector(1, 0, 0, 0), SECONDS)
    ranked = UntrainedRanker(shop[1]).rank(asked)
    assert ranked.contributions.sum(axis=1) == pytest.approx(ranked.scores)
    assert ranked.names == FEATURES


def test_the_untrained_ranker_weighs_what_all_features_say(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    pipeline, terms = shop
    asked = pipeline.candidates(portrait(), SearchRequest("oak table 18v"), vector(1, 0, 0, 0), SECONDS)
    parts = query_item_features(asked, terms) * untrained_vector()
    assert np.array_equal(UntrainedRanker(terms).rank(asked).contributions, parts)


def test_features_of_a_list_come_in_its_own_order(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    items = np.array([IDS.index("a9"), IDS.index("a1"), IDS.index("a2")], np.int32)
    lists = [ResultList("oak tabel", items), ResultList("!!", items[:1])]
    made = list_features(shop[0], shop[1], lists, SECONDS)
    assert made.features.shape == (4, len(FEATURES))
    assert made.corrected.tolist() == [True, False] and not made.features[3].any()
    again = list_features(shop[0], shop[1], [ResultList("oak table", items[::-1])], SECONDS)
    assert np.array_equal(again.features[::-1], made.features[:3])


def test_the_columns_of_the_words_are_those_that_are_made(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    query = shop[0].read(SearchRequest("oak table"))
    made = text_features(QueryTerms.of(query, shop[1]), shop[1], np.zeros(1, np.int32))
    assert set(made) == set(TEXT_FEATURES)
    assert len(untrained_vector()) == len(FEATURES) == len(set(FEATURES))


def network(features: tuple[str, ...] = FEATURES) -> NumpySearchRanker:
    rng, f = np.random.default_rng(0), len(features)
    shapes = {
        "wide": (2, f),
        "first": (2, f, 4),
        "first_bias": (2, 4),
        "second": (2, 4, 3),
        "second_bias": (2, 3),
        "out": (2, 3),
    }
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return NumpySearchRanker(features, weights | {"mean": np.zeros(f, np.float32), "scale": np.ones(f, np.float32)})


def test_a_saved_network_scores_the_same(tmp_path: Path) -> None:
    made, x = network(), np.random.default_rng(1).random((5, len(FEATURES))).astype(np.float32)
    made.save(tmp_path / "r.safetensors")
    read = NumpySearchRanker.load(tmp_path / "r.safetensors")
    assert read.features == FEATURES
    assert np.array_equal(read.score(x), made.score(x))


def test_contributions_follow_the_gradient() -> None:
    made, x = network(), np.zeros((2, len(FEATURES)), np.float32)
    x[0, 3] = 1e-3
    change = made.score(x)[0] - made.score(x)[1]
    assert made.contributions(x)[0].sum() - made.contributions(x)[1].sum() == pytest.approx(change, rel=1e-2)
    assert made.contributions(x)[0, 3] == pytest.approx(change / 2, rel=1e-2)


def test_a_network_of_other_features_is_refused(shop: tuple[SearchPipeline, ItemTerms]) -> None:
    with pytest.raises(CorruptArtefact, match="train it again"):
        LearnedSearchRanker(network(("one",)), shop[1], "v1")
    asked = shop[0].candidates(None, SearchRequest("oak"), None, SECONDS)
    ranked = LearnedSearchRanker(network(), shop[1], "v1").rank(asked)
    assert ranked.scores.shape == (len(asked.candidates),) and np.isfinite(ranked.contributions).all()


def test_terms_without_a_single_title() -> None:
    assert len(build_item_terms([], Analyser()).codes) == 0
