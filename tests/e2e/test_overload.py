"""More than can be answered, for a few seconds; an online store that says how it is; and an end under load."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest
import redis
from gateway_process import GatewayProcess, apply_features, eventually, running_gateway

from benchmarks._generator import Tally, closed_loop
from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from services.core.addresses import Addresses
from services.core.live_keys import ONLINE
from services.core.paths import HomePaths
from services.features.online.writer import OnlineWriter

pytestmark = pytest.mark.e2e

ITEMS, USERS = 3_000, 20
CALLERS = 150
"""More at once than there is ever room for, however quick the machine is."""
SURFACES = json.dumps({"home": {"max_profile_lag_ms": 2_000, "fallback": "popular"}})
ASK = {"user_id": "user-000000", "count": 5}


@pytest.fixture(scope="module")
def gateway(home: Path, database: Addresses) -> Iterator[GatewayProcess]:
    apply_features(home)
    snapshot = synthetic_snapshot(HomePaths(home).snapshots, ITEMS)
    now = time.time()
    made = [msgspec.structs.replace(p, as_of=now, newest_event=now) for p in synthetic_portraits(snapshot, USERS)]
    OnlineWriter(database).write_portraits(made)
    with running_gateway(home, database, SURFACES=SURFACES) as running:
        yield running


@pytest.fixture
def valkey(database: Addresses) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(database.redis_url) as client:
        yield client
        client.delete(ONLINE)


def shed_in_all(gateway: GatewayProcess) -> float:
    lines = gateway.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("portrait_shed_requests_total{"))


def test_of_far_too_many_callers_some_are_told_to_come_back_and_the_rest_is_answered(gateway: GatewayProcess):
    health: list[int] = []
    stop = threading.Event()
    asyncio.run(closed_loop(gateway.port, CALLERS, 1.0, USERS))
    counted = shed_in_all(gateway)

    def probe() -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            while not health or not stop.wait(0.3):
                health.append(client.get("/readyz").status_code)

    with ThreadPoolExecutor(1) as threads:
        probing = threads.submit(probe)
        found = asyncio.run(closed_loop(gateway.port, CALLERS, 3.0, USERS))
        stop.set()
        probing.result()
    assert found.admitted and found.shed and found.other == {}
    assert found.without_retry_after == 0
    assert health and set(health) == {200}
    _nothing_is_left_over(gateway, counted + len(found.shed))


def _nothing_is_left_over(gateway: GatewayProcess, refused: float) -> None:
    after: Tally = asyncio.run(closed_loop(gateway.port, 1, 1.0, USERS))
    assert after.admitted and not after.shed
    assert shed_in_all(gateway) >= refused
    assert 'portrait_inflight_requests{budget="reads"} 0.0' in gateway.client.get("/metrics").text


def test_a_refusal_is_a_problem_document(gateway: GatewayProcess):
    async def flood() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=400)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.post("/v1/recommendations", json=ASK) for _ in range(400)))

    refused = [answer for answer in asyncio.run(flood()) if answer.status_code != 200]
    assert refused
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0


def test_answers_tell_how_the_online_store_is_and_surfaces_fall_back(gateway: GatewayProcess, valkey: redis.Redis):
    def answer() -> dict:
        found = gateway.client.post("/v1/recommendations", json=ASK | {"surface": "home"})
        assert found.status_code == 200
        return found.json()

    def checked() -> tuple[str, str]:
        found = gateway.client.get("/readyz")
        return found.json()["status"], found.json()["checks"]["portraits"]

    assert answer()["fallback"] == {"reason": "no-tail", "ranking": "popular"}
    valkey.set(ONLINE, json.dumps({"status": "ready", "since": time.time()}))
    eventually(lambda: checked() == ("ready", "ok") and not answer()["degraded"])
    valkey.set(ONLINE, json.dumps({"status": "rebuilding", "since": time.time()}))
    eventually(lambda: checked() == ("ready", "rebuilding"))
    found = answer()
    assert found["degraded"] and found["fallback"]["reason"] == "rebuilding"
    assert found["features"]["user_serving"]["status"] == "present" and len(found["items"]) == 5
    valkey.delete(ONLINE)
    eventually(lambda: checked() == ("ready", "emptied"))
    assert answer()["fallback"]["reason"] == "emptied"
    assert 'portrait_online_store{status="emptied"} 1.0' in gateway.client.get("/metrics").text


def test_the_end_is_announced_and_what_was_begun_is_answered(home: Path, database: Addresses):
    """Last: the module's gateway is another process on the same home, ended by then or not."""
    with running_gateway(home, database) as ending:
        seen: list[int] = []
        running = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=ending.url, timeout=30) as client:
                while True:
                    try:
                        answer = client.post("/v1/recommendations", json=ASK)
                    except httpx.ConnectError:
                        return  # the end
                    except (httpx.RemoteProtocolError, httpx.ReadError):
                        return  # a kept connection that was closed between two requests
                    seen.append(answer.status_code)
                    running.set()

        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(ask)
            assert running.wait(30)
            ending.process.terminate()
            eventually(lambda: ending.client.get("/readyz").json()["checks"]["stopping"] == "stopping")
            assert ending.client.post("/v1/recommendations", json=ASK).status_code == 200  # not ready, and answering
            ending.process.wait(timeout=60)
            asking.result(timeout=30)
    assert set(seen) <= {200, 503}
    assert seen.count(200) > 1
