"""Filling a home with a shop, step by step: catalogue, events, vectors, features, portraits, snapshot."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from services.cli.output import console
from services.cli.work import run_and_watch
from services.core.addresses import Addresses, resolve_addresses
from services.core.errors import InvalidInput, NotReady
from services.core.memory import peak_mib, reset_peak
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.core.types import JobKind
from services.db.items import count_items
from services.db.session import make_engine, transaction
from services.features.snapshot import current_snapshot
from services.ingest.import_file import import_file
from services.ingest.importers.base import Kind
from services.simulation.config import ShopConfig
from services.simulation.files import FileFormat, shop_files
from services.simulation.shop import SimulatedShop

CATALOGUE_NAMES = re.compile(r"(?i)^(items|products|catalogue|catalog|meta|movies|item_properties)")
IGNORED_NAMES = re.compile(r"(?i)(^\.|readme|license|\.md$)")
READY_SECONDS = 120.0


@dataclass(frozen=True)
class Step:
    """One step that was done: what came of it, seconds, and peak memory of the process that did it (MiB)."""

    name: str
    what: str
    seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Shop:
    """The files a home is filled from; `simulated` knows the truth behind invented ones."""

    items: list[Path]
    events: list[Path]
    simulated: SimulatedShop | None = None


def shop_of(
    data: Path | None, settings: Settings, *, users: int, items: int, days: int, seed: int, now: datetime
) -> Shop:
    """The shop of a folder of real files, or a simulated one (written when it is first imported).

    Raises:
        InvalidInput: the folder holds no events file.
    """
    if data is not None:
        files = sorted(path for path in data.iterdir() if path.is_file() and not IGNORED_NAMES.search(path.name))
        catalogue = [path for path in files if CATALOGUE_NAMES.match(path.name)]
        events = [path for path in files if path not in catalogue]
        if not events:
            raise InvalidInput(f"{data} holds no file of events: see docs/importing.md for the formats that are read")
        return Shop(catalogue, events)
    config = ShopConfig(end=now, users=users, items=items, days=days, seed=seed)
    paths = shop_files(HomePaths(settings.home).cache / "demo", FileFormat.PARQUET)
    return Shop([paths.items], [paths.events], SimulatedShop(config))


def fill(settings: Settings, addresses: Addresses, shop: Shop) -> list[Step]:
    """Bring the shop in and compute everything from it; a home that is filled already is left as it is."""
    engine = make_engine(addresses.sqlalchemy_url, pool_size=2)
    try:
        with transaction(engine) as connection:
            present = count_items(connection)
        if present:
            console().print(f"This home has {present:,} items already: they stay, nothing is imported.")
            if current_snapshot(HomePaths(settings.home).snapshots) is not None:
                return []
        steps = [] if present else _bring_in(settings, engine, shop)
    finally:
        engine.dispose()
    for kind, parameters, describe in JOBS:
        result = run_and_watch(addresses, kind, parameters, label=kind.value)
        steps.append(Step(kind.value, describe(result), result["seconds"], result["peak_mib"]))
    return steps


JOBS: tuple[tuple[JobKind, dict[str, Any], Callable[[dict[str, Any]], str]], ...] = (
    (JobKind.EMBEDDINGS, {}, lambda r: f"{r['changed']:,} item vectors; encoded {_counts(r['encoded'])}"),
    (JobKind.FEATURES, {}, lambda r: f"engagement of {r['items']:,} items, sentiment of {r['reviews']:,} reviews"),
    (JobKind.PROFILES, {}, lambda r: f"{r['users']:,} portraits from {r['events']:,} events"),
    (JobKind.MATERIALIZE, {}, lambda r: f"{r['total_rows']:,} rows of {len(r['rows'])} views online"),
    (JobKind.SNAPSHOT, {}, lambda r: f"{r['items']:,} items, {r['pairs']:,} item-to-item pairs"),
)


def wait_until_ready(settings: Settings, seconds: float = READY_SECONDS) -> None:
    """Return when `/readyz` answers 200.

    Raises:
        NotReady: it did not within `seconds`.
    """
    url = f"{resolve_addresses(settings).http_url}/readyz"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass  # the gateway is still starting: ask again until the deadline
        time.sleep(0.2)
    raise NotReady(f"The gateway is not ready after {seconds:.0f} s: see `portrait doctor`")


def _bring_in(settings: Settings, engine: Engine, shop: Shop) -> list[Step]:
    steps = [] if shop.simulated is None else [_step("invent", lambda: _invent(settings, shop))]
    for kind, paths in ((Kind.ITEMS, shop.items), (Kind.EVENTS, shop.events)):
        for path in paths:
            steps.append(_step(f"import {kind.value}", lambda p=path, k=kind: _import(engine, p, k)))
    return steps


def _step(name: str, work: Callable[[], str]) -> Step:
    reset_peak()
    began = time.monotonic()
    what = work()
    return Step(name, what, time.monotonic() - began, peak_mib())


def _invent(settings: Settings, shop: Shop) -> str:
    assert shop.simulated is not None  # only called for a simulated shop
    home = HomePaths(settings.home)
    shop.simulated.write(home.cache / "demo", FileFormat.PARQUET)
    pictures = shop.simulated.draw_pictures(home.media)
    config = shop.simulated.config
    return f"{config.users:,} users with hidden tastes, {config.items:,} products, {pictures:,} drawn pictures"


def _import(engine: Engine, path: Path, kind: Kind) -> str:
    report = import_file(engine, path, kind=kind)
    return f"{path.name}: {report.stored:,} of {report.rows:,} rows stored, {report.rejected:,} rejected"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing new"
