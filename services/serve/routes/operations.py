"""Probes, metrics and the description of the interface, with and without the `/v1` prefix."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from sqlalchemy import text

from services.core.errors import PortraitError
from services.core.hold import held
from services.core.metrics import CONTENT_TYPE
from services.core.valkey import FAILED
from services.serve.answers import Health, Readiness
from services.serve.openapi import Describer
from services.serve.respond import json_response
from services.serve.shared_probe import SharedProbe
from services.serve.signals import stopping
from services.serve.state import State

DOCS_PAGE = Path(__file__).parents[1] / "static" / "docs.html"
PROBE_TIMEOUT_S = 5.0
PROBE_USER = "readiness-probe"


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the routes."""
    servers = SharedProbe(lambda: _servers(state))

    async def healthz(request: Request) -> Response:
        """The process answers."""
        return json_response(Health("ok"))

    async def readyz(request: Request) -> Response:
        """PostgreSQL and the online store answer and a snapshot is served (or the shop has none yet)."""
        postgres, store = await servers.get()
        serving = state.snapshots.serving
        checks = {
            "postgres": postgres,
            "online_store": store,
            "snapshot": "ok" if state.snapshots.usable else state.snapshots.failure or "not open",
            "hold": held(state.settings.home) or "ok",
            "stopping": "stopping" if stopping(state.settings.home) else "ok",
        }
        ready = all(value == "ok" for value in checks.values())
        live = state.live.now  # answers without all portraits are answers too, flagged
        checks["portraits"] = live.status.value if live.degraded else "ok"
        version = None if serving is None else serving.snapshot.version
        answer = Readiness("ready" if ready else "not-ready", checks, version)
        return json_response(answer, 200 if ready else 503, {} if ready else {"retry-after": "2"})

    async def metrics(request: Request) -> Response:
        """Prometheus' text format; of the replica that answers."""
        return Response(state.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def openapi_json(request: Request) -> Response:
        """This document."""
        return json_response(app.openapi())

    async def docs(request: Request) -> Response:
        """The interface, readable; self-contained."""
        return Response(DOCS_PAGE.read_bytes(), media_type="text/html; charset=utf-8")

    described: list[tuple[str, Callable, dict]] = [
        ("healthz", healthz, describe.route(answer=Health)),
        ("readyz", readyz, describe.route(answer=Readiness, errors=())),
        ("metrics", metrics, describe.route(answer=str, media_type=CONTENT_TYPE.split(";")[0])),
    ]
    for name, endpoint, described_as in described:
        if name == "readyz":
            responses = described_as["openapi_extra"]["responses"]
            responses["503"] = {**responses["200"], "description": "Not ready; `checks` says why"}
        for prefix in ("", "/v1"):
            app.add_api_route(f"{prefix}/{name}", endpoint, methods=["GET"], **described_as)
    for prefix in ("", "/v1"):
        app.add_api_route(f"{prefix}/openapi.json", openapi_json, methods=["GET"], include_in_schema=False)
        app.add_api_route(f"{prefix}/docs", docs, methods=["GET"], include_in_schema=False)


async def _servers(state: State) -> tuple[str, str]:
    """What is said of PostgreSQL and of the online store."""
    postgres, store = await asyncio.gather(_postgres(state), _store(state))
    return postgres, store


async def _postgres(state: State) -> str:
    try:
        await asyncio.wait_for(
            state.database.run(lambda connection: connection.execute(text("SELECT 1"))), PROBE_TIMEOUT_S
        )
    except (PortraitError, TimeoutError):
        return "does not answer"
    return "ok"


async def _store(state: State) -> str:
    try:
        work = asyncio.get_running_loop().run_in_executor(None, state.store.stored, PROBE_USER)
        await asyncio.wait_for(work, PROBE_TIMEOUT_S)
    except (*FAILED, OSError, PortraitError, TimeoutError):
        return "does not answer"
    return "ok"
