import numpy as np
import pytest
from recommend_shop import DAY, SECONDS, SPACE, portrait

from services.core.types import EventType
from services.features.portrait import cold_portrait, unpack_vector
from services.features.snapshot import ItemSnapshot
from services.profiles.config import ProfileConfig
from services.recommend.config import PipelineConfig
from services.recommend.fold import fold_events
from services.recommend.request import RecentEvent

CONFIG = PipelineConfig()


def fold(shop: ItemSnapshot, user, *events: RecentEvent):
    return fold_events(user, events, shop, CONFIG, SECONDS)


def test_a_strangers_events_make_a_short_term_vector(shop: ItemSnapshot):
    folded = fold(shop, cold_portrait("eve", SECONDS), RecentEvent("fork", EventType.CART), RecentEvent("desk"))
    # cart 1.0 · fork (0,1,0,0) + view 0.3 · desk (0,0,1,0), over √1.09
    assert unpack_vector(folded.short_term).tolist() == pytest.approx([0, 1 / 1.09**0.5, 0.3 / 1.09**0.5, 0], abs=1e-3)
    assert folded.space == SPACE
    assert [item.item_id for item in folded.recent_items] == ["desk", "fork"]


def test_the_old_short_term_vector_fades_with_its_age(shop: ItemSnapshot):
    user = portrait(as_of=SECONDS - DAY, newest_event=SECONDS - DAY)  # one half-life old
    folded = fold(shop, user, RecentEvent("fork", EventType.PURCHASE))
    # 0.5 · (0,0,1,0) + 1 · (0,1,0,0), over √1.25
    assert unpack_vector(folded.short_term).tolist() == pytest.approx([0, 1 / 1.25**0.5, 0.5 / 1.25**0.5, 0], abs=1e-3)


def test_purchases_and_hides_count_at_once(shop: ItemSnapshot):
    folded = fold(shop, portrait(), RecentEvent("cup", EventType.PURCHASE), RecentEvent("fork", EventType.HIDE))
    assert folded.bought == ("cup", "bowl")
    assert folded.hidden == ("fork",)
    assert folded.recent_items[0].weight < 0


def test_an_event_that_the_portrait_holds_is_not_counted_twice(shop: ItemSnapshot):
    user = portrait()
    assert fold(shop, user, RecentEvent("desk", EventType.VIEW, SECONDS - 60)) is user


def test_events_of_unknown_items_change_no_vector(shop: ItemSnapshot):
    folded = fold(shop, portrait(), RecentEvent("nowhere", EventType.CART))
    assert folded.short_term == portrait().short_term


def test_vectors_of_another_space_are_not_mixed(shop: ItemSnapshot):
    folded = fold(shop, portrait(space="older"), RecentEvent("fork", EventType.CART))
    assert unpack_vector(folded.short_term).tolist() == [0, 1, 0, 0]
    assert (folded.space, folded.long_term) == (SPACE, None)


def test_of_several_events_on_an_item_the_most_telling_counts(shop: ItemSnapshot):
    folded = fold(shop, cold_portrait("eve", SECONDS), RecentEvent("cup", EventType.CART), RecentEvent("cup"))
    assert [(item.item_id, item.type) for item in folded.recent_items] == [("cup", "cart")]


def test_a_hidden_item_stays_hidden_after_a_view(shop: ItemSnapshot):
    folded = fold(shop, cold_portrait("eve", SECONDS), RecentEvent("cup", EventType.HIDE), RecentEvent("cup"))
    assert folded.recent_items[0].weight < 0
    assert np.isclose(len(folded.hidden), 1)


def rated(item_id: str, stars: object, type_: EventType = EventType.RATING) -> RecentEvent:
    return RecentEvent(item_id, type_, properties={"rating": stars})


@pytest.mark.parametrize(
    ("event", "weight"),
    [
        (rated("cup", 5), 0.6),
        (rated("cup", 4), 0.3),
        (rated("cup", 3.0), 0.0),
        (rated("cup", 1), -0.6),
        (rated("cup", 1, EventType.REVIEW), -0.7),
        (rated("cup", 1, EventType.CART), 1.0),
        (RecentEvent("cup", EventType.REVIEW, properties={"text": "Cracked"}), 0.35),
        *((rated("cup", stars), 0.3) for stars in (0, 6, True, "5", None)),
    ],
)
def test_a_rating_counts_by_its_stars(shop: ItemSnapshot, event: RecentEvent, weight: float):
    folded = fold(shop, cold_portrait("eve", SECONDS), event)
    assert [item.weight for item in folded.recent_items] == pytest.approx([weight])


def test_the_average_rating_is_that_of_the_portraits():
    assert CONFIG.rating_prior_mean == ProfileConfig().rating_prior_mean


def test_a_bad_rating_pushes_the_short_term_vector_away(shop: ItemSnapshot):
    user = portrait(as_of=SECONDS)  # 1 · (0,0,1,0)
    folded = fold(shop, user, rated("fork", 1))  # −0.6 · (0,1,0,0)
    assert unpack_vector(folded.short_term).tolist() == pytest.approx([0, -0.6 / 1.36**0.5, 1 / 1.36**0.5, 0], abs=1e-3)


def test_what_is_disliked_pushes_no_more_than_what_is_liked_draws(shop: ItemSnapshot):
    user = portrait(as_of=SECONDS - 4 * DAY)  # 1/16 · (0,0,1,0)
    folded = fold(shop, user, RecentEvent("fork", EventType.HIDE))
    assert unpack_vector(folded.short_term).tolist() == pytest.approx([0, -(0.5**0.5), 0.5**0.5, 0], abs=1e-3)


def test_likes_and_dislikes_that_cancel_out_leave_no_direction(shop: ItemSnapshot):
    folded = fold(shop, portrait(), rated("desk", 1), RecentEvent("desk", EventType.HIDE))
    assert not unpack_vector(folded.short_term).any()


def test_the_opposite_of_something_is_not_a_taste(shop: ItemSnapshot):
    assert fold(shop, cold_portrait("eve", SECONDS), rated("cup", 1)).short_term is None
