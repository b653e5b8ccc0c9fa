"""Findings about a home and its servers: what is wrong, and what to do about it. Needs nothing but the core."""

import platform
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

import psycopg
from packaging.requirements import Requirement

from services.core.addresses import Addresses
from services.core.settings import Settings
from services.core.valkey import FAILED, connect, infos, is_cluster
from services.runtime.child import ask_ready
from services.runtime.launch import is_running
from services.runtime.ports import LOOPBACK, is_free
from services.runtime.state import PartStatus

LOW_DISK_BYTES = 5 * 1024**3
LEAST_DISK_BYTES = 1024**3


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One check's outcome: a sentence that says what was found and, unless all is well, one that says what to do."""

    check: str
    level: Level
    found: str
    cure: str | None = None


def ok(check: str, found: str) -> Finding:
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, cure: str) -> Finding:
    return Finding(check, Level.WARNING, found, cure)


def wrong(check: str, found: str, cure: str) -> Finding:
    return Finding(check, Level.WRONG, found, cure)


def check_packages(settings: Settings) -> Finding:
    """Whether everything Portrait imports is installed in a version it accepts."""
    missing = []
    for line in metadata.requires("portrait") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if missing:
        return wrong("packages", "; ".join(missing), "run `make setup`")
    return ok("packages", f"Python {platform.python_version()}, every package in the version that is needed")


def check_exposure(settings: Settings) -> Finding:
    if settings.loopback_only and not settings.keys:
        return ok("exposure", f"bound to {settings.bind}: this machine alone can ask, without an API key")
    weak = [key for key in settings.keys if len(key) < 16]
    if weak:
        return warning(
            "exposure",
            f"{len(weak)} of {len(settings.keys)} API keys are shorter than 16 characters",
            "make one with `openssl rand -hex 32` and set it in PORTRAIT_API_KEYS",
        )
    return ok("exposure", f"bound to {settings.bind}, {len(settings.keys)} API keys")


def check_home(settings: Settings) -> Finding:
    home = settings.home
    if not home.exists():
        return ok("home", f"{home} does not exist yet: `portrait up` makes it")
    mode = home.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return wrong(
            "home", f"{home} can be written by other users ({stat.filemode(mode)})", f"run `chmod go-w {home}`"
        )
    return ok("home", f"{home} ({stat.filemode(mode)})")


def check_disk(settings: Settings) -> Finding:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free at {folder}"
    cure = "make room, or point PORTRAIT_HOME to a larger disk (the home can be moved while it is down)"
    if free < LEAST_DISK_BYTES:
        return wrong("disk", text, cure)
    return warning("disk", text, cure) if free < LOW_DISK_BYTES else ok("disk", text)


def check_parts(settings: Settings) -> Finding:
    state = is_running(settings)
    if state is None:
        return wrong("parts", f"no supervisor runs on {settings.home}", "start the stack with `portrait up`")
    failed = [part for part in state.parts if part.status is PartStatus.FAILED]
    if failed:
        text = "; ".join(f"{part.name}: {part.error}" for part in failed)
        logs = ", ".join(part.log for part in failed)
        cure = f"read {logs}; it is tried again each minute, `portrait down` and `portrait up` do it now"
        return wrong("parts", text, cure)
    restarted = [f"{part.name} {part.restarts}x" for part in state.parts if part.restarts]
    if restarted:
        return warning("parts", f"restarted: {', '.join(restarted)}", "the logs in the home say why each ended")
    return ok("parts", f"{len(state.parts)} parts, phase {state.phase.value}, no restarts")


def check_port(settings: Settings) -> Finding:
    if settings.port == 0:
        return ok("port", "any free port is taken at start")
    if is_running(settings) is not None or is_free(settings.port):
        return ok("port", f"{settings.port} is ours or free")
    return wrong(
        "port", f"port {settings.port} is used by another program", "set PORTRAIT_PORT or `up --port` (0: any)"
    )


def check_gateway(settings: Settings, addresses: Addresses) -> Finding:
    if addresses.http_url is None:
        return wrong("gateway", "no gateway is recorded", "start the stack with `portrait up`")
    port = int(addresses.http_url.rsplit(":", 1)[1])
    ready, text = ask_ready(LOOPBACK, port, timeout_s=5.0)
    if ready:
        return ok("gateway", f"{addresses.http_url} is ready")
    return wrong(
        "gateway",
        f"{addresses.http_url}/readyz does not answer 200 but {text.strip()}",
        f"wait if it just started, else read {settings.home}/logs/gateway.log",
    )


def check_postgres(settings: Settings, addresses: Addresses) -> Finding:
    try:
        with psycopg.connect(addresses.database_url, connect_timeout=3) as connection:
            version = connection.info.server_version // 10_000
            row = connection.execute(
                "SELECT default_version, installed_version FROM pg_available_extensions WHERE name = 'vector'"
            ).fetchone()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        return wrong(
            "postgres", f"no connection: {reason}", _server_cure(settings.database_url is not None, "DATABASE")
        )
    if row is None:
        return wrong(
            "postgres", "the server has no pgvector", "install pgvector there (package postgresql-NN-pgvector)"
        )
    if row[1] is None:
        return wrong("postgres", "pgvector is not enabled in the database", "run the migrations: `portrait up`")
    return ok("postgres", f"PostgreSQL {version}, pgvector {row[1]}")


def check_valkey(settings: Settings, addresses: Addresses) -> Finding:
    try:
        with connect(addresses.redis_url, socket_timeout=3, decode_responses=True) as client:
            servers = infos(client, "server", "persistence", "memory", "cluster")
    except FAILED as error:
        return wrong("valkey", f"no connection: {error}", _server_cure(settings.redis_url is not None, "REDIS"))
    server = servers[0]
    name = f"{server.get('server_name', 'redis')} {server.get('valkey_version', server['redis_version'])}"
    if is_cluster(addresses.redis_url):
        name = f"{name}, a cluster of {len(servers)} shards"
    elif server.get("cluster_enabled"):
        return wrong(
            "valkey",
            f"{name} is a node of a cluster",
            "write PORTRAIT_REDIS_URL as redis+cluster://… (or rediss+cluster)",
        )
    policy = next((one["maxmemory_policy"] for one in servers if one["maxmemory_policy"] != "noeviction"), None)
    if policy is not None:
        return wrong(
            "valkey",
            f"{name} may evict keys (maxmemory-policy {policy}): portraits and queued tasks would vanish",
            "set maxmemory-policy noeviction there",
        )
    if not all(one.get("aof_enabled") for one in servers):
        return warning(
            "valkey",
            f"{name} keeps no append-only file: queued tasks are lost when it restarts",
            "set appendonly yes there (the online store itself is rebuilt by `portrait features materialize --all`)",
        )
    return ok("valkey", f"{name}, append-only, noeviction")


def _server_cure(configured: bool, name: str) -> str:
    return f"check PORTRAIT_{name}_URL and that server" if configured else "start the stack with `portrait up`"


HOME_CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    check_packages,
    check_exposure,
    check_home,
    check_disk,
    check_port,
    check_parts,
)
SERVER_CHECKS: tuple[Callable[[Settings, Addresses], Finding], ...] = (check_postgres, check_valkey, check_gateway)
