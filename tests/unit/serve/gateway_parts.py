"""The gateway without servers: an online store in memory, the real application."""

from pathlib import Path
from types import SimpleNamespace

import httpx
from pydantic import SecretStr
from starlette.types import ASGIApp

from services.core.metrics import ServingMetrics
from services.core.settings import Settings
from services.features.portrait import Portrait
from services.serve.portraits import Portraits
from services.serve.serving import SnapshotWatcher


class Store:
    """An online store in memory that can be taken down."""

    def __init__(self) -> None:
        self.portraits: dict[str, Portrait] = {}
        self.failure: Exception | None = None
        self.reads = 0

    def portrait(self, user_id: str) -> Portrait | None:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return self.portraits.get(user_id)


def state_of(folder: Path, store: Store, keys: str | None = None) -> SimpleNamespace:
    """The wiring without PostgreSQL: what the routes of these tests touch."""
    metrics = ServingMetrics()
    watcher = SnapshotWatcher(folder / "snapshots", metrics)
    watcher.refresh()
    return SimpleNamespace(
        settings=Settings(home=folder, api_keys=SecretStr(keys) if keys else None),
        metrics=metrics,
        store=store,
        portraits=Portraits(store),
        snapshots=watcher,
        impressions=SimpleNamespace(add=lambda served: None),
    )


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
