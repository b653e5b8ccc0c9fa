"""What callers see while a server is away, and that nothing is left when the gateway ends."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import psutil
import psycopg
import pytest
from gateway_process import GatewayProcess, apply_features, eventually, running_gateway

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from services.core.addresses import Addresses, write_addresses
from services.core.paths import HomePaths
from services.db.migrate import upgrade
from services.features.online.writer import OnlineWriter
from services.runtime.postgres import EmbeddedPostgres, PostgresConfig
from services.runtime.valkey import BROKER_DB, ONLINE_STORE_DB, EmbeddedValkey, ValkeyConfig
from services.serve.environment import RayFolders

pytestmark = pytest.mark.e2e

KEY = {"authorization": "Bearer sesame"}
USER = "user-000000"


@dataclass(frozen=True)
class Stack:
    """Servers of this test's own, which it may take down."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    gateway: GatewayProcess

    def ask(self, method: str, path: str, **request: object) -> httpx.Response:
        return self.gateway.client.request(method, path, headers=KEY, **request)

    def recommend(self) -> dict:
        answer = self.ask("POST", "/v1/recommendations", json={"user_id": USER, "count": 3})
        assert answer.status_code == 200
        return answer.json()


@pytest.fixture
def stack() -> Iterator[Stack]:
    home = Path(tempfile.mkdtemp(prefix="pt-")).resolve()
    paths = HomePaths(home)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        postgres = EmbeddedPostgres(paths, PostgresConfig(shared_buffers="64MB", durable=False))
        valkey = EmbeddedValkey(paths, ValkeyConfig(durable=True))
        for server in (postgres, valkey):
            server.start()
            cleanup.callback(server.stop)
        addresses = Addresses(
            postgres.url(), valkey.url(ONLINE_STORE_DB), valkey.url(BROKER_DB), redis_socket=str(valkey.socket)
        )
        write_addresses(home, addresses)
        upgrade(addresses.sqlalchemy_url)
        apply_features(home)
        snapshot = synthetic_snapshot(paths.snapshots, 200)
        portraits = [msgspec.structs.replace(p, as_of=time.time()) for p in synthetic_portraits(snapshot, 1)]
        OnlineWriter(addresses).write_portraits(portraits)
        gateway = cleanup.enter_context(running_gateway(home, addresses, API_KEYS="sesame"))
        yield Stack(postgres, valkey, gateway)


def test_outages_are_survived_and_nothing_is_left_behind(stack: Stack):
    _keys_are_asked_for(stack)
    _without_valkey_users_are_strangers(stack)
    _without_postgres_lists_go_on_and_writes_say_when_to_retry(stack)
    _the_end_loses_nothing_and_leaves_no_process_and_no_folder(stack)


def _keys_are_asked_for(stack: Stack) -> None:
    assert stack.gateway.client.post("/v1/recommendations", json={"user_id": USER}).status_code == 401
    assert not stack.recommend()["degraded"]


def _without_valkey_users_are_strangers(stack: Stack) -> None:
    stack.valkey.stop()
    found = stack.recommend()
    assert found["degraded"] and found["cold_start"] and len(found["items"]) == 3
    assert stack.ask("GET", f"/v1/users/{USER}/profile").status_code == 503
    not_ready = eventually(lambda: (a := stack.ask("GET", "/readyz")).status_code == 503 and a)
    assert not_ready.json()["checks"]["online_store"] != "ok"
    stack.valkey.start()
    eventually(lambda: not stack.recommend()["degraded"])
    assert not stack.recommend()["cold_start"]


def _without_postgres_lists_go_on_and_writes_say_when_to_retry(stack: Stack) -> None:
    stack.postgres.stop()
    found = stack.recommend()
    assert len(found["items"]) == 3 and not found["degraded"]
    batch = {"events": [{"event_id": "e", "user_id": "u", "item_id": "i", "type": "view", "timestamp": _now()}]}
    refused = stack.ask("POST", "/v1/events", json=batch)
    assert (refused.status_code, refused.json()["code"]) == (503, "dependency-down")
    assert int(refused.headers["retry-after"]) > 0
    eventually(lambda: stack.ask("GET", "/readyz").status_code == 503)
    stack.postgres.start()
    accepted = eventually(lambda: (a := stack.ask("POST", "/v1/events", json=batch)).status_code == 202 and a)
    assert accepted.json()["accepted"] == 1
    written = 'portrait_impressions_total{outcome="written"}'  # what was shown meanwhile was kept and is written now
    eventually(lambda: f"{written} 0" not in (text := stack.ask("GET", "/metrics").text) and written in text)
    assert 'portrait_impressions_total{outcome="lost"}' not in stack.ask("GET", "/metrics").text


def _the_end_loses_nothing_and_leaves_no_process_and_no_folder(stack: Stack) -> None:
    members = stack.gateway.members()
    last = stack.recommend()["request_id"]
    stack.gateway.process.terminate()
    stack.gateway.process.wait(timeout=60)
    with psycopg.connect(stack.postgres.url()) as connection:
        shown = connection.execute("SELECT count(*) FROM impressions WHERE request_id = %s", (last,)).fetchone()
    assert shown == (3,)
    _, alive = psutil.wait_procs(members, timeout=10)
    assert [process.name() for process in alive] == []
    folders = RayFolders.of(stack.gateway.home)
    assert not folders.session.exists() and not folders.haproxy.exists()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
