"""The reads and the events without the framework's way to them: middleware, search for the route, dependencies.

The routes are FastAPI's all the same: they are registered there and described in /openapi.json, and what has another
method or another path goes to it. What a handler raises is answered by the edge, as it is for every other route.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from services.serve.paths import EVENTS_PATH, HOT_ENDS, HOT_PATHS

Handler = Callable[..., Any]
DIRECT_PATHS = HOT_PATHS | {EVENTS_PATH}


class DirectRoutes:
    """ASGI application in front of FastAPI's. Handlers of these paths take the request and nothing else."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        routes = [route for route in app.routes if isinstance(route, APIRoute)]
        self._named = {
            (method, route.path): route for route in routes if route.path in DIRECT_PATHS for method in route.methods
        }
        self._of_ids = [route for route in routes if route.path.endswith(HOT_ENDS)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handler(scope) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    def _handler(self, scope: Scope) -> Handler | None:
        """What answers the request, which is told its route and the ids in its path; None: the framework does."""
        route = self._named.get((scope["method"], scope["path"]))
        if route is not None:
            scope["route"] = route
            return route.endpoint
        if not scope["path"].endswith(HOT_ENDS):
            return None
        for route in self._of_ids:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return route.endpoint
        return None
