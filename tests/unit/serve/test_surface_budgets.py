"""What is answered where portraits are older than a surface allows, and what answers say of their making."""

import asyncio
import math
import time
from pathlib import Path

import httpx
import msgspec
import pytest
from gateway_parts import Store, client_of, state_of
from pydantic import ValidationError

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from services.core.settings import Settings, SurfaceBudget
from services.features.freshness import EXPIRED, FeatureStatus
from services.features.online.live_status import TailReading
from services.features.portrait import Portrait
from services.serve.application import build_app
from services.serve.live import Live, StoreStatus

TAIL = (TailReading("a", {}),)
LIVE = Live(StoreStatus.OK, 0.3, TAIL)
LATE = Live(StoreStatus.OK, 5.0, TAIL)
USER = "user-000000"


@pytest.fixture
def shop(tmp_path: Path, store: Store) -> Portrait:
    """A snapshot of 300 items, and one user with a portrait of now."""
    snapshot = synthetic_snapshot(tmp_path / "snapshots", 300)
    portrait = msgspec.structs.replace(synthetic_portraits(snapshot, 1)[0], as_of=time.time())
    store.portraits[USER] = portrait
    return portrait


def ask(folder: Path, store: Store, live: Live, fallback: str = "popular", **body: object) -> dict:
    budgets = {"home": SurfaceBudget(max_profile_lag_ms=2_000, fallback=fallback)}
    state = state_of(folder, store, live=live, surfaces=budgets)
    request = {"user_id": USER, "surface": "home", "count": 20} | body
    answer = asyncio.run(client_of(build_app(state)).post("/v1/recommendations", json=request))
    assert answer.status_code == 200, answer.text
    return answer.json() | {"metrics": state.metrics.text().decode()}


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_within_its_budget_a_surface_is_answered_from_the_portrait(tmp_path: Path, store: Store, shop: Portrait):
    found = ask(tmp_path, store, LIVE)
    assert "fallback" not in found and not found["cold_start"] and not found["degraded"]
    assert ids(found) == ids(ask(tmp_path, store, LATE, surface="cart"))  # a surface without a budget


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        (LATE, "tail-lag"),
        (Live(StoreStatus.OK, math.inf), "no-tail"),
        (Live(StoreStatus.REBUILDING, 0.0, TAIL), "rebuilding"),
        (Live(StoreStatus.EMPTIED, 0.0, TAIL), "emptied"),
        (Live(StoreStatus.UNREACHABLE, 0.0, TAIL), "unreachable"),
    ],
)
def test_past_its_budget_it_is_answered_with_the_declared_ranking_and_says_so(
    tmp_path: Path, store: Store, shop: Portrait, live: Live, reason: str
):
    found = ask(tmp_path, store, live)
    assert found["fallback"] == {"reason": reason, "ranking": "popular"}
    assert found["cold_start"] and len(found["items"]) == 20
    counted = f'portrait_fallback_requests_total{{ranking="popular",reason="{reason}",surface="home"}} 1.0'
    assert counted in found["metrics"]


def test_what_is_popular_has_nothing_of_the_user_in_it_but_what_was_bought_stays_out(
    tmp_path: Path, store: Store, shop: Portrait
):
    everybodys = ids(ask(tmp_path, store, LATE, user_id="nobody", recent_events=[]))
    store.portraits[USER] = msgspec.structs.replace(shop, bought=(everybodys[0],), hidden=(everybodys[1],))
    clicked = [{"item_id": shop.recent_items[0].item_id, "type": "click"}]
    found = ask(tmp_path, store, LATE, recent_events=clicked)
    wanted = [item for item in everybodys if item not in everybodys[:2]]
    assert ids(found)[: len(wanted)] == wanted


def test_recent_events_may_be_all_that_counts(tmp_path: Path, store: Store, shop: Portrait):
    store.portraits[USER] = msgspec.structs.replace(shop, bought=(), hidden=())
    clicked = [{"item_id": shop.recent_items[0].item_id, "type": "click"}]
    found = ask(tmp_path, store, LATE, "recent_events", recent_events=clicked)
    assert found["fallback"]["ranking"] == "recent_events" and not found["cold_start"]
    assert ids(found) == ids(ask(tmp_path, store, LATE, "recent_events", user_id="nobody", recent_events=clicked))
    assert ids(found) != ids(ask(tmp_path, store, LATE, "popular", recent_events=clicked))


def test_a_stale_portrait_may_be_good_enough(tmp_path: Path, store: Store, shop: Portrait):
    found = ask(tmp_path, store, LATE, "stale")
    assert found["fallback"] == {"reason": "tail-lag", "ranking": "stale"}
    assert ids(found) == ids(ask(tmp_path, store, LIVE))


def test_what_the_user_does_now_changes_the_list_before_anything_is_stored(
    tmp_path: Path, store: Store, shop: Portrait
):
    before = ids(ask(tmp_path, store, LIVE))
    other = next(item for item in ids(ask(tmp_path, store, LIVE, user_id="nobody")) if item not in before[:10])
    after = ids(ask(tmp_path, store, LIVE, recent_events=[{"item_id": other, "type": "cart"}]))
    bought = ids(ask(tmp_path, store, LIVE, recent_events=[{"item_id": before[0], "type": "purchase"}]))
    assert after != before
    assert before[0] not in bought
    assert store.portraits[USER] == shop


def test_answers_tell_the_status_of_what_they_were_made_from(tmp_path: Path, store: Store, shop: Portrait):
    assert ask(tmp_path, store, LIVE)["features"] == {"user_serving": {"timestamp": shop.as_of, "status": "present"}}
    unknown = ask(tmp_path, store, LIVE, user_id="nobody")
    assert unknown["features"] == {"user_serving": {"timestamp": None, "status": "missing"}}
    assert not unknown["degraded"] and unknown["profile_age_ms"] is None
    store.failure = OSError("gone")
    lost = ask(tmp_path, store, LIVE)
    assert lost["features"] == {"user_serving": {"timestamp": None, "status": "unavailable"}} and lost["degraded"]


def test_an_expired_portrait_is_replaced_by_that_of_a_stranger_and_counted(tmp_path: Path, store: Store):
    store.status = FeatureStatus(1.0, EXPIRED)
    found = ask(tmp_path, store, LIVE)
    assert found["cold_start"] and found["features"]["user_serving"] == {"timestamp": 1.0, "status": "expired"}
    assert 'portrait_expired_features_total{view="user_serving"} 1.0' in found["metrics"]


def test_while_portraits_are_rebuilt_every_answer_says_that_it_may_lack_them(
    tmp_path: Path, store: Store, shop: Portrait
):
    client = client_of(build_app(state_of(tmp_path, store, live=Live(StoreStatus.REBUILDING))))

    async def scenario() -> list[httpx.Response]:
        return [
            await client.post("/v1/recommendations", json={"user_id": USER}),
            await client.post("/v1/rank", json={"user_id": USER, "item_ids": [shop.recent_items[0].item_id]}),
            await client.get(f"/v1/users/{USER}/profile"),
        ]

    answers = [answer.json() for answer in asyncio.run(scenario())]
    assert [answer["degraded"] for answer in answers] == [True, True, True]
    assert all(answer["features"]["user_serving"]["status"] == "present" for answer in answers)
    assert all(answer["profile_age_ms"] is not None for answer in answers)


def test_windows_that_have_passed_are_shown_as_empty_and_counted(tmp_path: Path, store: Store, shop: Portrait):
    store.portraits[USER] = msgspec.structs.replace(shop, as_of=time.time() - 2 * 86_400)
    state = state_of(tmp_path, store)
    profile = asyncio.run(client_of(build_app(state)).get(f"/v1/users/{USER}/profile")).json()
    assert {value for name, value in profile["behaviour"].items() if name.endswith(("_1h", "_1d"))} == {0.0}
    assert 'portrait_expired_features_total{view="user_behaviour"}' in state.metrics.text().decode()


def test_surfaces_are_declared_as_json(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORTRAIT_SURFACES", '{"home": {"max_profile_lag_ms": 2000, "fallback": "stale"}}')
    assert Settings().surfaces == {"home": SurfaceBudget(max_profile_lag_ms=2_000, fallback="stale")}
    monkeypatch.setenv("PORTRAIT_SURFACES", '{"home": {"max_profile_lag_ms": 2000, "fallback": "luck"}}')
    with pytest.raises(ValidationError, match="fallback"):
        Settings()
