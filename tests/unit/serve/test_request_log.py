"""Which lists are logged with what ranked them, and what is kept of a request."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import httpx
import msgspec
import numpy as np
import pytest
from gateway_parts import Store, client_of, state_of

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from services.core.settings import Settings, SurfaceBudget
from services.db.served_requests import LoggedRequest
from services.features.portrait import pack
from services.features.transforms import FEATURES
from services.recommend.request import RecommendationRequest
from services.registry.registry import BLEND
from services.serve.application import build_app
from services.serve.live import Live

SURFACES = {"cart": SurfaceBudget(max_profile_lag_ms=1_000, fallback="popular")}


class Gateway:
    """A gateway that shows what it would have written."""

    def __init__(self, folder: Path, share: float = 1.0) -> None:
        self.snapshot = synthetic_snapshot(folder / "snapshots", 200)
        self.store, self.kept = Store(), []
        self.known = synthetic_portraits(self.snapshot, 1)[0]
        self.store.portraits[self.known.user_id] = self.known
        state = state_of(folder, self.store, surfaces=SURFACES, live=Live(lag_s=60.0))
        state.settings = Settings(home=folder, request_log_share=share)
        state.impressions = SimpleNamespace(add=lambda served, logged: self.kept.append((served, logged)))
        self.client = client_of(build_app(state))

    def ask(self, user_id: str, **options: object) -> httpx.Response:
        body = {"user_id": user_id, "count": 5, **options}
        return asyncio.run(self.client.post("/v1/recommendations", json=body))

    @property
    def logged(self) -> list[LoggedRequest]:
        return [logged for _, logged in self.kept if logged is not None]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def test_a_list_is_logged_with_all_that_ranked_it(gateway: Gateway) -> None:
    recent = [{"item_id": "item-0000003", "type": "view", "properties": {"text": "private", "dwell_ms": 9}}]
    context = {"item_id": "item-0000001", "customer_note": "private"}
    answer = (gateway.ask(gateway.known.user_id, recent_events=recent, context=context, explain=True)).json()
    ((served, logged),) = gateway.kept
    assert (logged.request_id, logged.user_id, logged.timestamp) == (
        answer["request_id"], gateway.known.user_id, served.timestamp,
    )  # fmt: skip
    assert (logged.portrait_at, logged.packed) == (gateway.known.as_of, pack(gateway.known))
    assert (logged.snapshot, logged.model_version) == (gateway.snapshot.version, BLEND)
    features = np.frombuffer(logged.features, "<f4").reshape(5, len(FEATURES))
    assert np.isfinite(features).all() and features[:, 0].any()
    assert b"private" not in logged.request
    asked = msgspec.json.decode(logged.request, type=RecommendationRequest)
    assert (asked.count, asked.context, asked.explain) == (5, {"item_id": "item-0000001"}, False)
    assert [event.item_id for event in asked.recent_events] == ["item-0000003"]


def test_a_stranger_is_logged_without_a_portrait(gateway: Gateway) -> None:
    gateway.ask("nobody")
    assert (gateway.logged[0].portrait_at, gateway.logged[0].packed) == (None, None)


def test_lists_that_say_nothing_of_the_portrait_are_not_logged(gateway: Gateway) -> None:
    assert "fallback" in (gateway.ask(gateway.known.user_id, surface="cart")).json()
    gateway.store.failure = ConnectionError()
    assert (gateway.ask(gateway.known.user_id)).json()["degraded"]
    assert len(gateway.kept) == 2 and gateway.logged == []


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 20, 60), (1.0, 80, 80)])
def test_a_share_of_the_lists_is_logged(tmp_path: Path, share: float, least: int, most: int) -> None:
    gateway = Gateway(tmp_path, share)
    for _ in range(80):
        gateway.ask("nobody")
    assert len(gateway.kept) == 80 and least <= len(gateway.logged) <= most
