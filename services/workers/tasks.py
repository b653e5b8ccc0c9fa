"""The Celery tasks: each loads, checks and calls one service."""

import itertools
import os
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from celery.signals import worker_ready
from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.exceptions import OperationalError

from services.core.addresses import Addresses
from services.core.errors import PortraitError
from services.core.hold import held
from services.core.logging import get_logger
from services.core.types import JobKind
from services.db import jobs
from services.db.session import transaction
from services.workers import queues, stopping
from services.workers.app import app
from services.workers.context import worker_context
from services.workers.due import is_due
from services.workers.duties import Duty, duty
from services.workers.help_calls import waiting
from services.workers.runner import run_job

QUIET_SECONDS = 60.0
KEEP_DAYS = 14
THE_NEXT_CALL = 1
SPARE_EVERY = 30
"""Pulses of the tail, a second each, after which requests that nobody needs are dropped, but one for each duty: a child
that takes the place of one that died finds it at once."""

log = get_logger("workers")


@app.task(name=queues.RUN_JOB)
def run(job_id: str) -> bool:
    """Run one job of the `jobs` table. Delivered twice, it runs once."""
    context = worker_context()
    return run_job(context.engine, UUID(job_id), context.handlers)


@app.task(name=queues.REQUEST_DUE)
def request_due(what: str, parameters: dict[str, Any]) -> str | None:
    """Ask for the work if there is something to do; the job's id, or None."""
    context = worker_context()
    if held(context.settings.home):
        return None
    kind = JobKind(what)
    with transaction(context.engine) as connection:
        if not is_due(connection, kind, parameters, context):
            return None
        job_id, created = jobs.request_job(connection, what, parameters)
    if created:
        app.send_task(queues.RUN_JOB, args=(str(job_id),), queue=queues.QUEUE_OF[kind])
    return str(job_id)


@app.task(name=queues.HELP)
def help_recompute(run_id: str) -> int:
    """Share a recompute that another worker runs, until nothing is left of it or something else waits for this one. How
    many parts were done."""
    from services.profiles.shared_recompute import help_with  # noqa: PLC0415 - NumPy and more: not in the parent
    from services.workers.handlers import BESIDE_THE_TAIL  # noqa: PLC0415 - as above

    context = worker_context()
    if held(context.settings.home):
        return 0
    with app.connection() as broker:
        if waiting(broker):
            return 0
        return help_with(
            context.engine,
            context.stores.writer,
            UUID(run_id),
            call=context.call_for_help,
            go_on=lambda: waiting(broker) <= THE_NEXT_CALL,
            config=BESIDE_THE_TAIL,
        )


@app.task(name=queues.SWEEP)
def sweep() -> int:
    """Send open jobs again whose message was lost or whose worker died; forget jobs long ended. How many were sent."""
    context = worker_context()
    with transaction(context.engine) as connection:
        stale = jobs.stale_jobs(connection, quiet_seconds=QUIET_SECONDS)
        for job_id, _ in stale:
            jobs.touch_job(connection, job_id)
        jobs.prune_jobs(connection, keep_days=KEEP_DAYS)
    for job_id, what in stale:
        app.send_task(queues.RUN_JOB, args=(str(job_id),), queue=queues.QUEUE_OF[JobKind(what)])
    return len(stale)


@app.task(name=queues.TAIL, acks_late=False)
def tail() -> None:
    """Tail the event log until this worker ends. Asked for again and again; a worker that tails already needs no other
    request, so the spare ones are dropped."""
    from services.workers.live import LiveTail  # noqa: PLC0415 - Feast: imported by the parent of queue `live` alone

    with duty(Duty.PORTRAITS) as free:
        if free:
            _keep_at_it(LiveTail, spare_every=SPARE_EVERY)


@app.task(name=queues.ENGAGEMENT, acks_late=False)
def engagement() -> None:
    """Keep item engagement up to date until this worker ends; asked for as the tail is."""
    from services.workers.live_items import LiveItems  # noqa: PLC0415 - Feast, as above

    with duty(Duty.ENGAGEMENT) as free:
        if free:
            _keep_at_it(LiveItems)


class _Keeper(Protocol):
    """What runs for good."""

    paused: bool

    def run(self, stop: Callable[[], bool], each_pulse: Callable[[], None]) -> None: ...


def _keep_at_it(make: Callable[[Addresses], _Keeper], spare_every: int = 0) -> None:
    """Run until the worker ends, or until its parent is gone and nobody would end it; paused while the home is held."""
    context, parent = worker_context(), os.getppid()
    try:
        keeper = make(context.addresses)
    except PortraitError as error:
        log.warning("live-not-begun", what=make.__name__, code=error.code, detail=error.detail)
        return
    pulses = itertools.count(1)

    def each_pulse() -> None:
        keeper.paused = held(context.settings.home) is not None
        if spare_every and next(pulses) % spare_every == 0:
            _drop_spare_requests()

    keeper.run(lambda: stopping.requested.is_set() or os.getppid() != parent, each_pulse)


@worker_ready.connect
def _ask_for_duties(sender: Consumer, **_: object) -> None:
    if queues.LIVE in sender.app.amqp.queues.consume_from:
        _request_duties()


def _request_duties(broker: Connection | None = None) -> None:
    for task in (queues.TAIL, queues.ENGAGEMENT):
        app.send_task(task, queue=queues.LIVE, connection=broker)


def _drop_spare_requests() -> None:
    patience = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "max_retries": 1}
    try:
        with app.connection(transport_options=patience) as broker:
            broker.default_channel.queue_purge(queues.LIVE)
            _request_duties(broker)
    except (OperationalError, OSError) as error:
        log.info("spare-requests-not-dropped", error=str(error))
