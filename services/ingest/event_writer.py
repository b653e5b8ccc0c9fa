"""Group commit: batches of concurrent requests that wait for PostgreSQL are stored together in one transaction.

Each request still gets its own exact answer, and only once its events are committed. A few lanes (threads) take what
waits; a group that fails is stored again batch by batch on a lane of its own, so that one bad or blocked batch fails
alone and holds up nobody. The queue is bounded: what cannot be taken is refused at once.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.core.clock import Clock, forward_clock
from services.core.errors import NotReady, PortraitError
from services.core.logging import get_logger
from services.db.event_lines import insert_lines
from services.db.failures import RETRIED, sqlstate, unavailable
from services.db.session import transaction
from services.ingest.batches import Rejection
from services.ingest.events import EncodedBatch, encode_events

TRIES = 3
SHORTEST_LOCK_MS = 20

log = get_logger("ingest")


@dataclass(frozen=True)
class WriterConfig:
    """`lanes` write groups of up to `group_batches` or `group_bytes`; `waiting_batches` and `waiting_bytes` may wait.

    A group gives way to whoever holds one of its keys after `lock_ms` (below PostgreSQL's deadlock timeout of a second,
    so that an import never falls victim to a request); a batch alone after `alone_lock_ms`.
    """

    lanes: int = 2
    group_batches: int = 64
    group_bytes: int = 1 << 20
    waiting_batches: int = 512
    waiting_bytes: int = 32 << 20
    lock_ms: int = 100
    alone_lock_ms: int = 800

    @property
    def connections(self) -> int:
        """How many connections the writer's engine needs: partitions are made in transactions of their own."""
        return 2 * (self.lanes + 1)


@dataclass(frozen=True)
class EventsOutcome:
    """What became of one request's events: the three add up to what was sent."""

    accepted: int
    duplicates: int
    rejected: Sequence[Rejection]


@dataclass
class _Request:
    body: bytes
    answer: "Future[EventsOutcome]" = field(default_factory=Future)
    batch: EncodedBatch = field(default_factory=EncodedBatch)


class EventWriter:
    """Stores request bodies. Build one a process, with an engine of its own (`WriterConfig.connections`)."""

    def __init__(self, engine: Engine, config: WriterConfig | None = None, clock: Clock | None = None) -> None:
        self._engine, self._config = engine, config or WriterConfig()
        self._clock = clock or forward_clock()
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._batches = self._bytes = self._backlog = 0
        self._closed = False
        self._alone = ThreadPoolExecutor(1, thread_name_prefix="events-alone")
        self._lanes = [
            threading.Thread(target=self._run, name=f"events-{n}", daemon=True) for n in range(self._config.lanes)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def unanswered(self) -> int:
        """How many batches wait or are being written."""
        return self._batches

    def submit(self, body: bytes) -> "Future[EventsOutcome]":
        """Take the body of one request; the future has the outcome once the events are committed.

        Its exceptions are the decoder's (MalformedBody, InvalidInput, BodyTooLarge) and, where nothing of the body was
        acknowledged, NotReady and DependencyDown.

        Raises:
            NotReady: more waits already than may; nothing was taken.
        """
        request = _Request(body)
        with self._changed:
            if self._closed:
                raise NotReady("The gateway is stopping: send these events again in a moment")
            full = self._batches >= self._config.waiting_batches
            if full or (self._bytes and self._bytes + len(body) > self._config.waiting_bytes):
                raise NotReady("Too many events are waiting for PostgreSQL: send these again in a moment")
            self._batches += 1
            self._bytes += len(body)
            self._waiting.append(request)
            self._changed.notify()
        return request.answer

    def close(self) -> None:
        """Store what was taken, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.join()
        self._alone.shutdown(wait=True)
        self._engine.dispose()

    def _run(self) -> None:
        while group := self._next_group():
            self._store_group(group)

    def _next_group(self) -> list[_Request]:
        """What waits, up to a group's bounds; waits for at least one request. Empty when the writer is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            group: list[_Request] = []
            size = 0
            while self._waiting and len(group) < self._config.group_batches:
                size += len(self._waiting[0].body)
                if group and size > self._config.group_bytes:
                    break
                group.append(self._waiting.popleft())
            return group

    def _store_group(self, group: list[_Request]) -> None:
        ready = [request for request in group if self._decode(request)]
        if not ready:
            return
        try:
            fresh = self._commit(ready, self._config.lock_ms)
        except Exception as error:  # a defect must not end the lane; each caller is told below
            if len(ready) == 1 and not _blocked(error):
                self._fail(ready[0], error)
            elif _server_failed(error):
                for request in ready:
                    self._fail(request, error)
            else:
                log.info("events-apart", batches=len(ready), error=type(error).__name__)
                self._apart(ready)
            return
        for request, accepted in zip(ready, fresh, strict=True):
            self._answer(request, accepted)

    def _apart(self, requests: Sequence[_Request]) -> None:
        """Hand requests to the lane of single batches."""
        with self._changed:
            self._backlog += len(requests)
        for request in requests:
            self._alone.submit(self._store_alone, request)

    def _store_alone(self, request: _Request) -> None:
        """Store one batch. The more wait behind it, the less it may wait for others' locks."""
        lock_ms = max(SHORTEST_LOCK_MS, self._config.alone_lock_ms // max(1, self._backlog))
        try:
            accepted = self._commit([request], lock_ms)[0]
        except Exception as error:  # as above
            self._fail(request, error)
        else:
            self._answer(request, accepted)
        finally:
            with self._changed:
                self._backlog -= 1

    def _decode(self, request: _Request) -> bool:
        """Whether there is something to store; a body that cannot be read is answered at once."""
        if not request.answer.set_running_or_notify_cancel():
            self._release(request)  # the caller has gone, and was told nothing
            return False
        try:
            request.batch = encode_events(request.body, self._clock())
        except Exception as error:  # as above
            self._fail(request, error)
            return False
        if not len(request.batch.events):
            self._answer(request, 0)
            return False
        return True

    def _commit(self, requests: Sequence[_Request], lock_ms: int) -> list[int]:
        """How many events of each request were new, once they are committed."""
        for attempt in range(1, TRIES + 1):
            try:
                with transaction(self._engine) as connection:
                    return insert_lines(connection, [request.batch.events for request in requests], lock_ms=lock_ms)
            except (SQLAlchemyError, psycopg.Error) as error:
                if sqlstate(error) not in RETRIED or attempt == TRIES:
                    raise
        raise AssertionError("unreachable")

    def _answer(self, request: _Request, accepted: int) -> None:
        self._release(request)
        batch = request.batch
        request.answer.set_result(EventsOutcome(accepted, len(batch.events) - accepted, batch.rejected))

    def _fail(self, request: _Request, error: Exception) -> None:
        self._release(request)
        failure = error if isinstance(error, PortraitError) else unavailable(error)
        if failure is not None and failure is not error:
            failure.__cause__ = error
        request.answer.set_exception(failure or error)

    def _release(self, request: _Request) -> None:
        with self._changed:
            self._batches -= 1
            self._bytes -= len(request.body)


def _blocked(error: Exception) -> bool:
    return isinstance(error, psycopg.errors.LockNotAvailable)


def _server_failed(error: Exception) -> bool:
    """Whether every batch of a group would fail in the same way."""
    failure = error if isinstance(error, PortraitError) else unavailable(error)
    return failure is not None and failure.code == "dependency-down"
