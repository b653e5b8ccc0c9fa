"""The outermost layer: API keys, request counting, and no failure without a problem document."""

import hmac
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.core.errors import PortraitError, Unauthorised
from services.core.metrics import ServingMetrics
from services.serve.problems import problem_response, unexpected_response

OPEN_PATHS = frozenset(
    path for name in ("healthz", "readyz", "openapi.json", "docs") for path in (f"/{name}", f"/v1/{name}")
)
"""What needs no key: probes, and the description of the interface."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, keys: frozenset[str], metrics: ServingMetrics) -> None:
        self._app, self._metrics = app, metrics
        self._keys = tuple(key.encode() for key in sorted(keys))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status, complete = 0, False

        async def counted(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        try:
            self._authorise(scope)
            await self._app(scope, receive, counted)
        except PortraitError as error:
            await problem_response(error)(scope, receive, counted)
        except Exception as error:  # the last line of defence: answered as a problem, logged with its cause
            if not status:
                await unexpected_response(error)(scope, receive, counted)
            elif not complete:
                raise  # the answer had begun: the connection must break, or the caller would take it for whole
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.requests.labels(scope["method"], route, status).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - start)

    def _authorise(self, scope: Scope) -> None:
        """Raises Unauthorised without a valid key where one is needed. Every key is compared, in constant time."""
        if not self._keys or scope["path"] in OPEN_PATHS:
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            raise Unauthorised("Send one of PORTRAIT_API_KEYS as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
