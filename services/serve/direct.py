"""The hot paths without the framework's way to them: its middleware, its search for the route, its dependencies.

The routes are FastAPI's all the same: they are registered there and described in /openapi.json, and what has another
method or another path goes to it. What a handler raises is answered by the edge, as it is for every other route.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from services.serve.paths import HOT_PATHS


class DirectRoutes:
    """ASGI application in front of FastAPI's. Handlers of hot paths take the request and nothing else."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._handlers: dict[tuple[str, str], tuple[APIRoute, Callable[..., Any]]] = {
            (method, route.path): (route, route.endpoint)
            for route in app.routes
            if isinstance(route, APIRoute) and route.path in HOT_PATHS
            for method in route.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._handlers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], handler = found
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)
