import numpy as np
import pytest
from recommend_shop import IDS, SECONDS, portrait

from services.core.types import EventType
from services.features.filters import ItemFilter, PriceRange
from services.features.portrait import cold_portrait
from services.features.snapshot import ItemSnapshot
from services.recommend import retrieval
from services.recommend.config import PipelineConfig
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RankRequest, RecentEvent, RecommendationRequest

COLD = cold_portrait("eve", SECONDS)


def recommend(pipeline: RecommendationPipeline, user=None, **request):
    return pipeline.recommend(user or portrait(), RecommendationRequest("ada", **request), SECONDS)


def test_bought_hidden_and_unavailable_items_are_left_out(pipeline: RecommendationPipeline):
    found = recommend(pipeline, portrait(hidden=("apron",)))
    assert set(found.item_ids) == set(IDS) - {"bowl", "gong", "apron"}


def test_what_others_engage_with_after_the_bowl_comes_first(pipeline: RecommendationPipeline):
    found = recommend(pipeline, portrait(short_term=None))
    assert found.item_ids[0] == "cup"
    assert "item_to_item" in found.sources[0]


def test_scores_descend(pipeline: RecommendationPipeline):
    scores = recommend(pipeline).scores
    assert scores == sorted(scores, reverse=True)


def test_a_stranger_gets_popular_trending_and_new_items(pipeline: RecommendationPipeline):
    found = recommend(pipeline, COLD)
    assert found.cold
    assert found.item_ids[0] == "bowl"  # the most popular item that is available
    assert set(found.item_ids) == set(IDS) - {"gong"}
    assert {source for sources in found.sources for source in sources} == {"popular", "trending", "newest"}


def test_a_strangers_context_names_categories(pipeline: RecommendationPipeline):
    found = recommend(pipeline, COLD, context={"category": "Furniture", "country": "NO"})
    by_item = dict(zip(found.item_ids, found.sources, strict=True))
    assert "context" in by_item["desk"] and "context" in by_item["hook"]


def test_a_product_page_brings_its_items_companions_and_not_the_item(pipeline: RecommendationPipeline):
    found = recommend(pipeline, COLD, context={"item_id": "desk"})
    by_item = dict(zip(found.item_ids, found.sources, strict=True))
    assert "context" in by_item["hook"]
    assert "desk" not in by_item


def test_events_of_the_request_count_at_once(pipeline: RecommendationPipeline):
    before = recommend(pipeline, COLD)
    after = recommend(pipeline, COLD, recent_events=(RecentEvent("desk", EventType.CART),))
    assert before.item_ids[0] == "bowl"
    assert after.item_ids[0] == "hook"  # engaged with after the desk
    assert not after.cold


def test_a_bad_rating_in_the_request_is_no_reason(pipeline: RecommendationPipeline):
    for stars, named in ((5, True), (1, False)):
        event = RecentEvent("desk", EventType.RATING, properties={"rating": stars})
        found = recommend(pipeline, COLD, recent_events=(event,), explain=True)
        texts = [reason["text"] for reasons in found.reasons for reason in reasons]
        assert ("because you rated Oak desk" in texts) is named


def test_what_is_bought_in_the_request_is_left_out(pipeline: RecommendationPipeline):
    assert "cup" not in recommend(pipeline, recent_events=(RecentEvent("cup", EventType.PURCHASE),)).item_ids


def test_excluded_items_and_unknown_exclusions(pipeline: RecommendationPipeline):
    assert "cup" not in recommend(pipeline, exclude=("cup", "nowhere")).item_ids


def test_what_is_excluded_takes_no_places_of_a_list(pipeline: RecommendationPipeline):
    config = PipelineConfig(max_candidates=2, trending_quota=0, popular_quota=1, newest_quota=0, cold_factor=1)
    narrow = RecommendationPipeline(pipeline.snapshot, config=config)
    best = ("bowl", "cup", "hook", "desk")
    assert recommend(narrow, COLD, count=1, exclude=best).item_ids == ["fork"]
    cheap = ItemFilter(price=PriceRange(max=100))  # apron, bowl, cup, easel, hook
    assert recommend(narrow, COLD, count=1, exclude=best, filter=cheap).item_ids == ["easel"]
    page = recommend(narrow, COLD, count=1, filter=cheap, exclude=("bowl",), context={"item_ids": ["cup", "hook"]})
    assert page.item_ids == ["easel"]


def test_of_many_items_that_pass_excluded_ones_are_not_compared(
    pipeline: RecommendationPipeline, monkeypatch: pytest.MonkeyPatch
):
    filtered = RecommendationPipeline(pipeline.snapshot, sources=())
    monkeypatch.setattr(retrieval, "COMPARED", 2)
    cheap = ItemFilter(price=PriceRange(max=100))
    assert recommend(filtered, COLD, filter=cheap, exclude=("bowl", "cup")).item_ids == ["hook", "apron"]


def test_a_narrow_filter_is_answered_from_the_whole_catalogue(pipeline: RecommendationPipeline):
    config = PipelineConfig(
        nearest_quota=1, item_to_item_quota=1, category_quota=0, trending_quota=0, popular_quota=1, newest_quota=0
    )
    narrow = RecommendationPipeline(pipeline.snapshot, config=config)
    found = recommend(narrow, COLD, filter=ItemFilter(categories=("Art",)))
    assert found.item_ids == ["easel"]
    assert found.sources == [["filter"]]


def test_unavailable_items_alone_can_be_asked_for(pipeline: RecommendationPipeline):
    for user in (COLD, portrait()):
        found = recommend(pipeline, user, filter=ItemFilter(available=False))
        assert (found.item_ids, found.sources) == (["gong"], [["filter"]])


def test_of_many_items_that_pass_the_popular_and_the_near_are_compared(
    pipeline: RecommendationPipeline, monkeypatch: pytest.MonkeyPatch
):
    filtered = RecommendationPipeline(pipeline.snapshot, sources=())
    monkeypatch.setattr(retrieval, "COMPARED", 2)
    cheap = ItemFilter(price=PriceRange(max=100))  # apron, bowl, cup, easel, hook
    assert recommend(filtered, COLD, filter=cheap).item_ids == ["bowl", "cup"]
    found = recommend(filtered, portrait(bought=()), filter=cheap).item_ids
    assert set(found) == {"apron", "bowl", "cup", "easel"}  # the hook has no vector


def test_a_filter_that_nothing_passes_gives_an_empty_list(pipeline: RecommendationPipeline):
    found = recommend(pipeline, filter=ItemFilter(brands=("Nobody",)), explain=True)
    assert found.item_ids == [] and found.reasons == []


def test_at_most_the_asked_count(pipeline: RecommendationPipeline):
    assert len(recommend(pipeline, count=2).item_ids) == 2


def test_caps_hold_on_brands_and_not_where_the_brand_was_asked_for(shop: ItemSnapshot):
    capped = RecommendationPipeline(shop, config=PipelineConfig(max_per_brand=1))
    found = recommend(capped, COLD, count=3)
    brands = [shop.brand[shop.index_of(item)] for item in found.item_ids]
    assert len({code for code in brands if code >= 0}) == sum(code >= 0 for code in brands)
    asked = recommend(capped, COLD, count=3, filter=ItemFilter(brands=("Hale",)))
    assert len(asked.item_ids) == 3


def test_diversity_separates_the_two_blue_things(pipeline: RecommendationPipeline):
    kitchen = ItemFilter(categories=("Kitchen",))
    assert recommend(pipeline, COLD, count=2, filter=kitchen).item_ids == ["bowl", "cup"]  # cosine 0.96
    assert recommend(pipeline, COLD, count=2, filter=kitchen, diversity=0.9).item_ids == ["bowl", "fork"]  # 0.6


def test_the_same_request_gives_the_same_list(pipeline: RecommendationPipeline):
    assert recommend(pipeline).item_ids == recommend(pipeline).item_ids


def test_a_portrait_of_another_vector_space_still_gets_a_list(pipeline: RecommendationPipeline):
    found = recommend(pipeline, portrait(space="older"))
    assert found.item_ids and "long_term" not in {s for sources in found.sources for s in sources}


def test_ranking_keeps_every_item_and_puts_unknown_ones_last(pipeline: RecommendationPipeline):
    request = RankRequest("ada", ("nowhere", "gong", "cup", "bowl", "cup", "void"), explain=True)
    ranking = pipeline.rank(portrait(), request, SECONDS)
    assert set(ranking.item_ids[:3]) == {"gong", "cup", "bowl"}
    assert ranking.item_ids[3:] == ["nowhere", "void"]
    assert ranking.known == [True, True, True, False, False]
    assert ranking.scores[3:] == [None, None]
    assert ranking.reasons[3:] == [None, None]


def test_ranking_only_unknown_items(pipeline: RecommendationPipeline):
    ranking = pipeline.rank(COLD, RankRequest("eve", ("x", "y")), SECONDS)
    assert ranking.item_ids == ["x", "y"] and ranking.known == [False, False]


def test_similar_items_mix_companions_and_content(pipeline: RecommendationPipeline):
    found = pipeline.similar_items("bowl", 3)
    # cup: 0.5·0.9 + 0.5·0.96; fork: 0.5·0.4 + 0.5·0.6; apron: 0.5·0.8
    assert found.item_ids == ["cup", "fork", "apron"]
    assert found.scores == pytest.approx([0.93, 0.5, 0.4], abs=1e-3)
    assert found.sources == [["item_to_item", "content"], ["item_to_item", "content"], ["content"]]


def test_similar_items_of_an_item_without_a_vector_and_of_none(pipeline: RecommendationPipeline):
    assert pipeline.similar_items("hook", 3).item_ids == []
    assert pipeline.similar_items("nowhere", 3) is None


def test_scores_are_the_blend_of_the_features(pipeline: RecommendationPipeline):
    found = recommend(pipeline, COLD)
    easel = found.scores[found.item_ids.index("easel")]
    # first of the newest and seventh of the popular; popularity 0.05; two days old: freshness 2^(−2/30)
    weights = pipeline.ranker.weights
    votes = 1 / 60 + 1 / 66
    expected = weights.retrieval_score * votes / (votes + 8 / 60)
    expected += 0.05 * weights.popularity + 2 ** (-2 / 30) * weights.freshness
    assert easel == pytest.approx(expected, abs=1e-3)


def test_stages_are_timed(pipeline: RecommendationPipeline):
    stages = recommend(pipeline, explain=True).stages
    assert list(stages) == ["user", "retrieval", "features", "ranking", "reranking", "reasons"]
    assert all(seconds >= 0 for seconds in stages.values())
    assert np.isfinite(sum(stages.values()))


def test_a_long_list_is_chosen_from_twice_its_length(shop: ItemSnapshot):
    pipeline = RecommendationPipeline(shop, config=PipelineConfig(max_candidates=2))
    counts = {count: recommend(pipeline, COLD, count=count).candidates for count in (1, 2, 100)}
    assert counts == {1: 2, 2: 4, 100: len(IDS) - 1}
