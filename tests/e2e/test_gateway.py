"""The gateway end to end: HAProxy, Ray Serve, PostgreSQL, Valkey through Feast, a mapped snapshot."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec
import psutil
import psycopg
import pytest
from gateway_process import GatewayProcess, apply_features, eventually, running_gateway

from benchmarks._synthetic_shop import NOW, synthetic_portraits, synthetic_snapshot, synthetic_tables
from services.core.addresses import Addresses
from services.core.paths import HomePaths
from services.features.online.writer import OnlineWriter
from services.features.portrait import Portrait
from services.features.snapshot_build import build_snapshot, publish
from services.recommend.linear import LinearBlend

pytestmark = pytest.mark.e2e

ITEMS, USERS = 400, 5
SCHEMA_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SCHEMA_EXAMPLES = int(os.environ.get("PORTRAIT_TEST_SCHEMA_EXAMPLES", "25"))


@pytest.fixture(scope="module")
def portraits(home: Path, database: Addresses) -> list[Portrait]:
    """A published shop, and portraits in the online store."""
    apply_features(home)
    snapshot = synthetic_snapshot(HomePaths(home).snapshots, ITEMS)
    now = time.time()
    made = [msgspec.structs.replace(p, as_of=now, newest_event=now - 60) for p in synthetic_portraits(snapshot, USERS)]
    OnlineWriter(database).write_portraits(made)
    return made


@pytest.fixture(scope="module")
def gateway(home: Path, database: Addresses, portraits: list[Portrait]) -> Iterator[GatewayProcess]:
    with running_gateway(home, database) as running:
        yield running


@pytest.fixture
def api(gateway: GatewayProcess) -> httpx.Client:
    return gateway.client


def event(**changes: object) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    plain = {"event_id": uuid4().hex, "user_id": "ada", "item_id": "item-0000001", "type": "view", "timestamp": now}
    return plain | changes


def rows(database: Addresses, query: str, *parameters: object) -> list[tuple]:
    with psycopg.connect(database.database_url) as connection:
        return connection.execute(query, parameters).fetchall()


def test_everything_is_ready(api: httpx.Client):
    answer = api.get("/readyz").json()
    assert answer["status"] == "ready"
    assert set(answer["checks"].values()) == {"ok"}
    assert api.get("/v1/healthz").json() == {"status": "ok"}


def test_nothing_listens_beyond_loopback(gateway: GatewayProcess):
    members = gateway.members()
    assert any("haproxy" in p.name() for p in members) and len(members) > 5
    listening = [c for p in members for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_known_user_gets_a_personal_list_with_reasons(api: httpx.Client, portraits: list[Portrait]):
    body = {"user_id": portraits[0].user_id, "count": 10, "explain": True}
    answer = api.post("/v1/recommendations", json=body)
    found = answer.json()
    assert answer.status_code == 200 and len(found["items"]) == 10
    assert not found["cold_start"] and not found["degraded"]
    assert found["model"] == {"name": "linear-blend", "version": LinearBlend().version}
    assert found["profile_age_ms"] >= 60_000
    shown = {item["item_id"] for item in found["items"]}
    assert not shown & set(portraits[0].bought) and not shown & set(portraits[0].hidden)
    assert any(r["text"].startswith("because you") for item in found["items"] for r in item["reasons"])
    assert [item["rank"] for item in found["items"]] == list(range(1, 11))
    assert {"decode", "portrait", "retrieval", "features", "ranking"} <= {
        part.split(";")[0] for part in answer.headers["server-timing"].split(", ")
    }


def test_a_stranger_gets_a_cold_start(api: httpx.Client):
    found = api.post("/v1/recommendations", json={"user_id": "nobody 👋", "count": 5}).json()
    assert found["cold_start"] and found["profile_age_ms"] is None and len(found["items"]) == 5


def test_what_was_shown_reaches_postgres(api: httpx.Client, database: Addresses, portraits: list[Portrait]):
    body = {"user_id": portraits[1].user_id, "count": 3, "surface": "home"}
    shown = api.post("/v1/recommendations", json=body).json()
    query = (
        "SELECT item_id, user_id, surface, propensity, model FROM impressions WHERE request_id = %s ORDER BY position"
    )
    stored = eventually(lambda: rows(database, query, shown["request_id"]))
    assert [row[0] for row in stored] == [item["item_id"] for item in shown["items"]]
    assert {row[1:] for row in stored} == {(portraits[1].user_id, "home", 1.0, f"linear-blend@{LinearBlend().version}")}


def test_an_accepted_event_is_committed(api: httpx.Client, database: Addresses):
    sent = event()
    answer = api.post("/v1/events", json={"events": [sent]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    assert rows(database, "SELECT user_id FROM events WHERE event_id = %s", sent["event_id"]) == [("ada",)]
    assert api.post("/v1/events", json={"events": [sent]}).json()["duplicates"] == 1


def test_a_bad_event_does_not_reject_its_neighbours(api: httpx.Client):
    batch = [event(), event(type="dance"), event(user_id=""), event(timestamp="2026-01-01T00:00:00"), event()]
    found = api.post("/v1/events", json={"events": batch}).json()
    assert found["accepted"] == 2
    assert [(r["index"], bool(r["code"]), bool(r["message"])) for r in found["rejected"]] == [
        (1, True, True),
        (2, True, True),
        (3, True, True),
    ]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b'{"events": [', 400),
        (b"[]", 422),
        (b'{"events": []}', 422),
        (b'{"events": 7}', 422),
        (b'{"events": [], "more": 1}', 422),
        (b'{"events": "' + b"x" * (1 << 20) + b'"}', 413),
    ],
)
def test_a_bad_batch_is_a_problem(api: httpx.Client, content: bytes, status: int):
    answer = api.post("/v1/events", content=content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] and answer.json()["code"]


def test_the_same_batch_sent_by_eight_callers_counts_once(api: httpx.Client, gateway: GatewayProcess):
    batch = {"events": [event() for _ in range(50)]}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: httpx.post(f"{gateway.url}/v1/events", json=batch, timeout=60), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json()["accepted"] for answer in answers) == 50


@pytest.mark.parametrize("item_id", ["plain", "with space/and slash", "商品-1", "100%", "a?b#c&d", "👩‍🔬"])
def test_an_item_is_put_read_and_deleted(api: httpx.Client, item_id: str):
    item = {"item_id": item_id, "title": "Blue bowl", "categories": ["Kitchen"], "price": 12.5, "attributes": {"a": 1}}
    path = f"/v1/items/{quote(item_id, safe='')}"
    assert api.put("/v1/items", json={"items": [item]}).json()["inserted"] == 1
    assert api.put("/v1/items", json={"items": [item]}).json()["unchanged"] == 1
    stored = api.get(path).json()
    assert (stored["item_id"], stored["price"], stored["attributes"]) == (item_id, 12.5, {"a": 1})
    assert api.get(f"{path}/similar").json() == {"item_id": item_id, "items": []}  # in no snapshot yet
    assert api.delete(path).status_code == 204
    assert (api.get(path).status_code, api.get(path).json()["code"]) == (404, "not-found")
    assert api.delete(path).status_code == 404


def test_a_bad_item_does_not_reject_its_neighbours(api: httpx.Client):
    items = [{"item_id": "good", "title": "Good"}, {"item_id": "bad", "title": "x" * 10_000}, {"title": "no id"}]
    answer = api.put("/v1/items", json={"items": items})
    assert answer.status_code == 200
    assert answer.json()["inserted"] == 1
    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [1, 2]


def test_items_like_another(api: httpx.Client):
    found = api.get("/v1/items/item-0000003/similar", params={"count": 4}).json()
    assert len(found["items"]) == 4
    assert all(item["sources"] for item in found["items"])
    assert api.get("/v1/items/nowhere/similar").status_code == 404


def test_ranking_flags_unknown_items(api: httpx.Client, portraits: list[Portrait]):
    body = {"user_id": portraits[0].user_id, "item_ids": ["nowhere", "item-0000001", "item-0000002"]}
    items = api.post("/v1/rank", json=body).json()["items"]
    assert [item["known"] for item in items] == [True, True, False]
    assert items[2] == {"item_id": "nowhere", "rank": 3, "score": None, "known": False}


def test_the_readable_portrait(api: httpx.Client, portraits: list[Portrait]):
    found = api.get(f"/v1/users/{portraits[0].user_id}/profile").json()
    assert found["lifecycle"] == "active" and len(found["interests"]) == 5
    assert found["interests"][0]["title"].startswith("Product")
    assert found["features"]["user_serving"]["status"] == "present"
    assert found["affinities"]["price"] == {"typical": 20.0, "low": 8.0, "high": 60.0}


def test_an_unknown_users_portrait_is_a_new_one(api: httpx.Client):
    answer = api.get("/v1/users/nobody/profile")
    assert answer.status_code == 200
    assert answer.json()["confidence"] == 0 and answer.json()["features"]["user_serving"]["status"] == "missing"


def test_similar_users(api: httpx.Client, portraits: list[Portrait]):
    found = api.get(f"/v1/users/{portraits[0].user_id}/similar", params={"count": 2}).json()
    assert [user["user_id"] for user in found["users"]] == [name for name, _ in portraits[0].neighbours[:2]]


def test_a_users_attributes_and_consent(api: httpx.Client, database: Addresses):
    assert api.put("/v1/users/ada", json={"attributes": {"city": "Turin"}}).status_code == 201
    assert api.put("/v1/users/ada", json={"consent": {"personalisation": True}}).status_code == 200
    stored = rows(database, "SELECT attributes, consent FROM users WHERE user_id = 'ada'")
    assert stored == [({"city": "Turin"}, {"personalisation": True})]
    assert api.put("/v1/users/ada", json={"consents": {}}).status_code == 422
    assert api.delete("/v1/users/ada").json()["rows"]["users"] == 1
    assert rows(database, "SELECT FROM users WHERE user_id = 'ada'") == []


def test_work_asked_for_twice_is_one_job(api: httpx.Client):
    body = {"what": "profiles", "user_ids": ["ada", "ben", "ada"]}
    first, second = api.post("/v1/recompute", json=body), api.post("/v1/recompute", json=body)
    assert (first.status_code, first.json()["created"], second.json()["created"]) == (202, True, False)
    assert first.json()["job_id"] == second.json()["job_id"]
    job = api.get(f"/v1/jobs/{first.json()['job_id']}").json()
    assert (job["what"], job["status"], job["progress"]) == ("profiles", "queued", 0)


@pytest.mark.parametrize("job_id", ["00000000-0000-0000-0000-000000000000", "no-uuid"])
def test_an_unknown_job_is_not_found(api: httpx.Client, job_id: str):
    assert api.get(f"/v1/jobs/{job_id}").status_code == 404


def test_users_narrow_profiles_only(api: httpx.Client):
    answer = api.post("/v1/recompute", json={"what": "snapshot", "user_ids": ["ada"]})
    assert (answer.status_code, answer.json()["field"]) == (422, "user_ids")


def test_a_new_snapshot_is_served_without_a_failed_request(gateway: GatewayProcess, home: Path):
    folder = HomePaths(home).snapshots
    stop, failures = threading.Event(), []

    def keep_asking() -> None:
        with httpx.Client(base_url=gateway.url, timeout=30, transport=httpx.HTTPTransport(retries=2)) as client:
            while not stop.is_set():
                answer = client.post("/v1/recommendations", json={"user_id": "nobody"})
                if answer.status_code != 200:
                    failures.append(answer.text)

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(keep_asking) for _ in range(2)]
        version = build_snapshot(synthetic_tables(ITEMS + 50), folder, now=NOW)
        publish(folder, version)
        eventually(lambda: gateway.client.get("/readyz").json()["snapshot"] == version)
        stop.set()
        for one in asking:
            one.result()
    assert failures == []
    body = {"user_id": "nobody", "item_ids": [f"item-{ITEMS + 10:07d}"]}
    assert gateway.client.post("/v1/rank", json=body).json()["items"][0]["known"]


def test_metrics_tell_requests_stages_and_impressions(api: httpx.Client):
    text = api.get("/metrics").text
    for name in (
        'portrait_http_requests_total{method="POST",route="/v1/recommendations",status="200"}',
        'portrait_stage_seconds_bucket{le="0.001",stage="retrieval"}',
        'portrait_impressions_total{outcome="written"}',
        'portrait_events_total{outcome="accepted"}',
        "portrait_snapshot_items",
    ):
        assert name in text


def test_whatever_is_sent_only_what_openapi_announces_is_answered(gateway: GatewayProcess):
    schemathesis = str(Path(sys.executable).with_name("schemathesis"))
    command = [schemathesis, "run", f"{gateway.url}/openapi.json", "--checks", SCHEMA_CHECKS, "--mode", "all"]
    command += ["--max-examples", str(SCHEMA_EXAMPLES), "--generation-deterministic", "--request-retries", "2"]
    command += ["--phases", "examples,coverage,fuzzing", "--no-color"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
