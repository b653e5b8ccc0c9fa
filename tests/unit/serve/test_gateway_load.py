"""What the edge does with requests it cannot take, and what it lets the proxy in front know."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from gateway_parts import Store, client_of, state_of

from services.core.metrics import ServingMetrics
from services.serve.admission import Budget, Gate, GateConfig
from services.serve.application import build_app
from services.serve.edge import Edge, waited_s

ASK = {"method": "POST", "url": "/v1/recommendations", "json": {"user_id": "ada"}}


def edge_over(gate: Gate, metrics: ServingMetrics | None = None) -> Edge:
    app = FastAPI()

    @app.post("/v1/recommendations")
    @app.post("/v1/events")
    @app.get("/readyz")
    async def answer() -> str:
        return "answered"

    return Edge(app, frozenset(), ServingMetrics() if metrics is None else metrics, gate)


def full_gate() -> Gate:
    gate = Gate(GateConfig(reads=1, writes=1))
    gate.enter(Budget.READS)
    gate.enter(Budget.WRITES)
    return gate


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/events"])
def test_what_cannot_be_taken_is_a_problem_that_says_when_to_come_back(path: str):
    metrics = ServingMetrics()
    answer = asyncio.run(client_of(edge_over(full_gate(), metrics)).post(path, json={}))
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) == answer.json()["retry_after"] > 0
    reason = answer.json()["reason"]
    assert f'portrait_shed_requests_total{{reason="{reason}"}} 1.0' in metrics.text().decode()


def test_a_body_is_not_read_to_be_refused():
    async def never():
        raise AssertionError("the body was read")
        yield b""

    assert asyncio.run(client_of(edge_over(full_gate())).post("/v1/events", content=never())).status_code == 503


def test_health_is_never_shed():
    assert asyncio.run(client_of(edge_over(full_gate())).get("/readyz")).status_code == 200


def test_what_was_answered_or_failed_or_was_cancelled_makes_room():
    gate = Gate(GateConfig(reads=1))
    app = FastAPI()

    @app.post("/v1/recommendations")
    async def answer(fail: bool = False) -> str:
        assert gate.reads == 1
        if fail:
            raise ValueError("a defect")
        await asyncio.sleep(0.05)
        return "answered"

    async def scenario() -> list[int]:
        client = client_of(Edge(app, frozenset(), ServingMetrics(), gate))
        hung_up = asyncio.create_task(client.post("/v1/recommendations"))
        await asyncio.sleep(0.01)
        hung_up.cancel()
        await asyncio.gather(hung_up, return_exceptions=True)
        return [(await client.post("/v1/recommendations", params={"fail": f})).status_code for f in (True, False)]

    assert asyncio.run(scenario()) == [500, 200]
    assert gate.reads == 0


def test_the_proxy_in_front_learns_how_many_reads_there_is_room_for():
    client = client_of(edge_over(Gate()))
    stamp = str(int(time.time() * 1e6))
    fronted = asyncio.run(client.request(**ASK, headers={"x-portrait-arrived": stamp}))
    assert fronted.headers["x-portrait-room"] == str(GateConfig().burst_room)
    assert "x-portrait-room" not in asyncio.run(client.request(**ASK)).headers


def test_what_the_proxy_in_front_refused_is_counted_here():
    metrics = ServingMetrics()
    client = client_of(edge_over(Gate(), metrics))
    for said in (
        "70:3",
        "70:5",
        "81:1",
        "70:6",
        "81:2",
        "70:1",
        "x",
        "7:",
        "9" * 40,
    ):  # at the last 70 is a new process
        asyncio.run(client.request(**ASK, headers={"x-portrait-shed": said}))
    assert 'portrait_shed_requests_total{reason="room"} 9.0' in metrics.text().decode()


@pytest.mark.parametrize(
    "stamp",
    ["", "x", "-5", "9" * 30, "1", str(int((time.time() + 3_600) * 1e6))],
    ids=["empty", "no-number", "negative", "huge", "long-ago", "ahead"],
)
def test_a_stamp_that_cannot_be_right_means_no_wait(stamp: str):
    assert waited_s({b"x-portrait-arrived": stamp.encode()}, time.time()) == 0.0


def test_a_stamp_tells_how_long_a_request_has_waited():
    assert waited_s({b"x-portrait-arrived": b"1000000000"}, 1_000.25) == pytest.approx(0.25)


def test_a_caller_over_its_rate_is_told_to_slow_down_and_others_are_not(tmp_path: Path, store: Store):
    client = client_of(build_app(state_of(tmp_path, store, rate_limit=1.0)))

    async def ask(address: str) -> httpx.Response:
        return await client.request(**ASK, headers={"x-portrait-client": address})

    async def scenario() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        greedy = [await ask("10.0.0.1") for _ in range(4)]
        return greedy, await ask("10.0.0.2"), await client.get("/healthz", headers={"x-portrait-client": "10.0.0.1"})

    greedy, modest, health = asyncio.run(scenario())
    assert [answer.status_code for answer in greedy] == [200, 200, 429, 429]
    assert greedy[-1].json()["code"] == "too-many-requests" and "PORTRAIT_RATE_LIMIT" in greedy[-1].json()["detail"]
    assert greedy[-1].headers["retry-after"] == "1"
    assert (modest.status_code, health.status_code) == (200, 200)


def test_with_keys_the_rate_is_each_keys(tmp_path: Path, store: Store):
    client = client_of(build_app(state_of(tmp_path, store, keys="first-key,second-key", rate_limit=1.0)))

    async def scenario() -> list[int]:
        asked = ["first-key"] * 3 + ["second-key", "wrong"]
        return [(await client.request(**ASK, headers={"x-api-key": key})).status_code for key in asked]

    assert asyncio.run(scenario()) == [200, 200, 429, 200, 401]
