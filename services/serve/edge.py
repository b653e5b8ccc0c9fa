"""The outermost layer: keys, limits, request counting, and no failure without a problem document."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.core.errors import PortraitError
from services.core.metrics import ServingMetrics
from services.serve.admission import Budget, Gate
from services.serve.bodies import ITEMS_LIMIT
from services.serve.keys import Keys
from services.serve.paths import ALWAYS, OPEN_PATHS, is_hot
from services.serve.problems import problem_response, unexpected_response
from services.serve.rate_limit import RateLimit
from services.serve.shed import OVERLOADED, RATE, ShedAnswer, too_many

ARRIVED, CLIENT, SHED = b"x-portrait-arrived", b"x-portrait-client", b"x-portrait-shed"
"""Set by the HAProxy in front (services/serve/haproxy.py): when the request came, in microseconds, from where, and how
many reads it has refused, `pid:count`: after a reload two HAProxy processes answer side by side for a while."""
ROOM = b"x-portrait-room"
"""What it is answered: how many reads may be under way."""
IN_FRONT = "room"
MOST_DIGITS, PROCESSES_KEPT = 30, 4
CREDIBLE_WAIT_S = 30.0
"""A longer wait, or a negative one, is a clock that was set meanwhile."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        keys: frozenset[str],
        metrics: ServingMetrics,
        gate: Gate | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self._app, self._metrics, self._limit = app, metrics, limit
        self._keys = Keys(keys)
        self._shed_in_front: dict[int, int] = {}
        self._gate = gate = Gate() if gate is None else gate
        metrics.inflight.labels(Budget.READS.value).set_function(lambda: gate.reads)
        metrics.inflight.labels(Budget.WRITES.value).set_function(lambda: gate.writes)

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
            await self._admit(scope, receive, counted)
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

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer that it cannot be taken now. Raises Unauthorised."""
        path = scope["path"]
        if path in ALWAYS:
            if path not in OPEN_PATHS:
                self._keys.check(dict(scope["headers"]))
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = self._keys.check(headers)
        if self._limit is not None:
            seconds = self._limit.take(_caller(scope, headers) if key is None else key)
            if seconds > 0:
                await self._shed(RATE, too_many(self._limit.per_second, seconds), send)
                return
        if is_hot(path):
            await self._read(scope, receive, send, headers)
        else:
            await self._write(scope, receive, send, _size(headers))

    async def _read(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        waited = waited_s(headers, time.time())
        self._metrics.delay.observe(waited)
        self._count_shed_in_front(headers.get(SHED, b""))
        refusal = self._gate.enter(Budget.READS, waited, guarded=ARRIVED in headers)
        if refusal is not None:
            await self._shed(refusal.value, OVERLOADED[refusal], send)
            return
        begun: float | None = None
        computed: float | None = None

        async def received() -> Message:
            nonlocal begun
            message = await receive()
            begun = time.perf_counter()
            return message

        async def answered(message: Message) -> None:
            nonlocal computed
            if begun is not None and computed is None:  # without a pause since the body was there
                computed = time.perf_counter() - begun
            if ARRIVED in headers and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (ROOM, str(self._gate.room).encode())]
            await send(message)

        try:
            await self._app(scope, received, answered)
        finally:
            self._gate.leave(Budget.READS, computed=computed)

    async def _write(self, scope: Scope, receive: Receive, send: Send, size: int) -> None:
        refusal = self._gate.enter(Budget.WRITES, size=size)
        if refusal is not None:
            await self._shed(refusal.value, OVERLOADED[refusal], send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._gate.leave(Budget.WRITES, size)

    def _count_shed_in_front(self, said: bytes) -> None:
        """Add what an HAProxy has refused since the last request that it let through."""
        pid, _, total = said.partition(b":")
        if not (pid.isdigit() and total.isdigit() and len(said) < MOST_DIGITS):
            return
        counts, process, count = self._shed_in_front, int(pid), int(total)
        since = count - counts.pop(process, 0)
        since = since if since >= 0 else count
        self._metrics.shed.labels(IN_FRONT).inc(since)
        if since:
            self._gate.refused(since)
        counts[process] = count
        if len(counts) > PROCESSES_KEPT:
            counts.pop(next(iter(counts)))

    async def _shed(self, reason: str, answer: ShedAnswer, send: Send) -> None:
        self._metrics.shed.labels(reason).inc()
        await answer.send(send)


def waited_s(headers: dict[bytes, bytes], now: float) -> float:
    """Seconds since the request arrived at this machine; 0 where nothing credible says so."""
    stamp = headers.get(ARRIVED, b"")
    if not stamp.isdigit() or len(stamp) > 20:
        return 0.0
    waited = now - int(stamp) / 1e6
    return waited if 0 < waited < CREDIBLE_WAIT_S else 0.0


def _caller(scope: Scope, headers: dict[bytes, bytes]) -> bytes:
    """Where the request comes from."""
    client = scope.get("client")
    return headers.get(CLIENT) or (client[0].encode() if client else b"")


def _size(headers: dict[bytes, bytes]) -> int:
    """Bytes that the body may take: what it announces, or the most that is read of one that announces nothing."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and len(announced) < 20:
        return min(int(announced), ITEMS_LIMIT)
    return ITEMS_LIMIT if b"transfer-encoding" in headers else 0
