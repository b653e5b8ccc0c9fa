import asyncio

import httpx
import pytest
import redis
from gateway_parts import Store

from services.core.errors import CorruptArtefact, DependencyDown
from services.features.portrait import cold_portrait
from services.serve import portraits
from services.serve.portraits import Portraits


def test_an_unknown_user_is_a_cold_start_and_not_degraded(store: Store):
    reading = Portraits(store).read("eve", 100.0)
    assert reading.portrait == cold_portrait("eve", 100.0)
    assert not reading.degraded


@pytest.mark.parametrize(
    "failure", [redis.ConnectionError("gone"), OSError("gone"), DependencyDown("gone"), CorruptArtefact("bytes")]
)
def test_without_the_store_users_are_strangers(store: Store, failure: Exception):
    store.failure = failure
    reading = Portraits(store).read("ada", 100.0)
    assert reading.degraded and reading.portrait == cold_portrait("ada", 100.0)


def test_a_store_that_failed_is_left_alone_for_a_while(store: Store, monkeypatch: pytest.MonkeyPatch):
    clock = [1_000.0]
    monkeypatch.setattr(portraits.time, "monotonic", lambda: clock[0])
    store.failure = DependencyDown("gone")
    reader = Portraits(store)
    for _ in range(5):
        assert reader.read("ada", 1.0).degraded
    assert store.reads == 1
    clock[0] += portraits.RETRY_S
    store.failure = None
    assert not reader.read("ada", 1.0).degraded
    assert store.reads == 2


@pytest.mark.parametrize("asked", ["show", "feature_status"])
def test_a_store_that_hung_is_left_alone_by_whoever_asks(store: Store, monkeypatch: pytest.MonkeyPatch, asked: str):
    clock = [1_000.0]
    monkeypatch.setattr(portraits.time, "monotonic", lambda: clock[0])

    def hang(user_id: str) -> None:
        store.reads += 1
        clock[0] += 5.0
        raise redis.TimeoutError("hung")

    monkeypatch.setattr(store, "stored", hang)
    reader = Portraits(store)
    ask = {"show": lambda: reader.show("ada", 1.0), "feature_status": lambda: reader.feature_status("ada")}[asked]
    for _ in range(3):
        with pytest.raises(DependencyDown) as refused:
            ask()
        assert refused.value.extra["retry_after"] == portraits.RETRY_FACTOR * 5
    assert reader.read("ada", 1.0).degraded
    assert store.reads == 1


def test_a_list_without_the_store_says_so(open_client: httpx.AsyncClient, store: Store):
    store.failure = redis.ConnectionError("gone")
    answer = asyncio.run(open_client.post("/v1/recommendations", json={"user_id": "ada"}))
    assert answer.status_code == 200 and answer.json()["degraded"]


def test_a_portrait_cannot_be_shown_without_the_store(open_client: httpx.AsyncClient, store: Store):
    store.failure = redis.ConnectionError("gone")
    for path in ("/v1/users/ada/similar", "/v1/users/ada/profile", "/v1/users/ada/similar"):
        answer = asyncio.run(open_client.get(path))
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency-down")
        assert int(answer.headers["retry-after"]) > 0
