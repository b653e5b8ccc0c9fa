"""The gateway without servers: an online store in memory, the real application."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
from pydantic import SecretStr
from starlette.types import ASGIApp

from services.core.metrics import ServingMetrics
from services.core.settings import Settings, SurfaceBudget
from services.features.freshness import MISSING, PRESENT, FeatureStatus
from services.features.portrait import Portrait, pack
from services.serve.live import Live
from services.serve.portraits import Portraits
from services.serve.serving import SnapshotWatcher
from services.serve.surfaces import Surfaces


@dataclass(frozen=True)
class Stored:
    portrait: Portrait | None
    status: FeatureStatus

    @property
    def packed(self) -> bytes | None:
        return None if self.portrait is None else pack(self.portrait)


class Store:
    """An online store in memory that can be taken down."""

    def __init__(self) -> None:
        self.portraits: dict[str, Portrait] = {}
        self.failure: Exception | None = None
        self.status: FeatureStatus | None = None
        self.reads = 0

    def stored(self, user_id: str) -> Stored:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        found = self.portraits.get(user_id)
        status = FeatureStatus(None, MISSING) if found is None else FeatureStatus(found.as_of, PRESENT)
        return Stored(found, self.status or status)

    def feature_status(self, user_id: str) -> dict[str, FeatureStatus]:
        return {"user_serving": self.stored(user_id).status}


def state_of(
    folder: Path,
    store: Store,
    keys: str | None = None,
    live: Live | None = None,
    surfaces: dict[str, SurfaceBudget] | None = None,
    rate_limit: float | None = None,
) -> SimpleNamespace:
    """The wiring without PostgreSQL: what the routes of these tests touch."""
    watch = SimpleNamespace(now=Live() if live is None else live)
    metrics = ServingMetrics()
    watcher = SnapshotWatcher(folder / "snapshots", metrics)
    watcher.refresh()
    return SimpleNamespace(
        settings=Settings(home=folder, api_keys=SecretStr(keys) if keys else None, rate_limit=rate_limit),
        metrics=metrics,
        store=store,
        live=watch,
        surfaces=Surfaces(surfaces or {}),
        portraits=Portraits(store, metrics, lambda: watch.now),
        snapshots=watcher,
        shadow=SimpleNamespace(offer=lambda *_: None),
        impressions=SimpleNamespace(add=lambda served, logged: None),
    )


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
