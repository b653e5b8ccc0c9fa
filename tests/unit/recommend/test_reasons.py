from pathlib import Path

import pytest
from recommend_shop import SECONDS, build_shop, portrait

from services.features.portrait import RecentItem, cold_portrait
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecentEvent, RecommendationRequest


def reasons(pipeline: RecommendationPipeline, user, **request):
    found = pipeline.recommend(user, RecommendationRequest("ada", explain=True, **request), SECONDS)
    return dict(zip(found.item_ids, found.reasons, strict=True))


def test_a_reason_names_the_users_own_purchase(pipeline: RecommendationPipeline):
    first = reasons(pipeline, portrait(short_term=None))["cup"][0]
    assert first["text"] == "because you bought Blue bowl"
    assert first["item_id"] == "bowl"
    assert first["event"] == {"type": "purchase", "timestamp": SECONDS - 3_600}


def test_shares_are_parts_of_one_whole_weightiest_first(pipeline: RecommendationPipeline):
    for found in reasons(pipeline, portrait()).values():
        shares = [reason["share"] for reason in found]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-6
        assert 1 <= len(found) <= 3


def test_what_has_just_been_viewed_is_named(pipeline: RecommendationPipeline):
    found = reasons(pipeline, cold_portrait("eve", SECONDS), recent_events=(RecentEvent("desk"),))
    assert found["hook"][0]["text"] == "because you viewed Oak desk"


def test_a_strangers_reasons_name_no_event(pipeline: RecommendationPipeline):
    found = reasons(pipeline, cold_portrait("eve", SECONDS))
    assert found["bowl"][0]["text"] == "popular in Tableware"
    assert found["fork"][0]["kind"] in {"trending", "popular"}
    assert found["easel"][0]["text"] == "new in the shop"
    assert all("event" not in reason for reasons_ in found.values() for reason in reasons_)


def test_tastes_are_named(pipeline: RecommendationPipeline):
    user = portrait(recent_items=(), interests=(), long_term=None, short_term=None, neighbour_items=())
    kinds = {reason["kind"]: reason["text"] for reason in reasons(pipeline, user)["cup"]}
    assert kinds["brand"] == "you like Hale"
    assert kinds["category"] == "you often choose Tableware"


def test_an_interest_is_named_with_its_medoid(pipeline: RecommendationPipeline):
    user = portrait(recent_items=(), categories=(), brands=(), long_term=None, short_term=None)
    found = [reason for reason in reasons(pipeline, user)["cup"] if reason["kind"] == "interest"]
    assert found[0]["text"] == "it matches your interest in Tableware by Hale"
    assert found[0]["item_id"] == "bowl"


def test_similar_shoppers_are_named(pipeline: RecommendationPipeline):
    user = portrait(recent_items=(), interests=(), long_term=None, short_term=None, categories=(), brands=())
    assert reasons(pipeline, user)["easel"][0]["kind"] == "similar_users"


@pytest.mark.parametrize(("event_type", "verb"), [("cart", "put in your cart"), ("review", "reviewed")])
def test_each_type_of_event_has_its_verb(pipeline: RecommendationPipeline, event_type: str, verb: str):
    user = portrait(short_term=None, recent_items=(RecentItem("bowl", event_type, SECONDS - 10, 1.0),))
    assert reasons(pipeline, user)["cup"][0]["text"] == f"because you {verb} Blue bowl"


def test_a_shop_in_which_nothing_was_engaged_with_together_has_reasons_too(tmp_path: Path):
    pipeline = RecommendationPipeline(build_shop(tmp_path, pairs=()))
    found = reasons(pipeline, cold_portrait("eve", SECONDS), recent_events=(RecentEvent("desk"),))
    assert found and all(found.values())
    pipeline.warm()
