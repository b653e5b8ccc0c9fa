"""The Celery application: `celery -A services.workers.app worker -Q cpu`."""

import gc

from celery import Celery
from celery.signals import (
    beat_init,
    setup_logging,
    worker_before_create_process,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)
from kombu import Queue

from services.core.addresses import resolve_addresses
from services.core.logging import configure_logging
from services.core.ready import tell_ready
from services.core.settings import get_settings
from services.workers import queues, stopping
from services.workers.resting import rest_when_idle
from services.workers.schedule import BEAT_SCHEDULE

LONGEST_POP_S = 10
"""For how long a worker that has nothing to do waits in one question to the broker. What comes meanwhile it gets at
once."""


def make_celery(broker_url: str, processes: int) -> Celery:
    """A Celery application on this broker, of so many processes a worker where its command line does not say.

    Results are not kept there: jobs are rows in Postgres.
    """
    celery = Celery("portrait", broker=broker_url)
    celery.conf.update(
        include=["services.workers.tasks"],
        task_queues=[Queue(name) for name in (queues.GPU, queues.CPU, queues.IO, queues.LIVE)],
        task_default_queue=queues.IO,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        worker_concurrency=processes,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_max_memory_per_child=4_000_000,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": 3600,
            "socket_keepalive": True,
            "polling_interval": LONGEST_POP_S,
        },
        beat_schedule=BEAT_SCHEDULE,
        beat_scheduler="services.workers.beat:ForwardScheduler",
        timezone="UTC",
    )
    return celery


@setup_logging.connect
def _logging(**_: object) -> None:
    configure_logging(get_settings().log_level)


@worker_ready.connect
@beat_init.connect
def _ready(**_: object) -> None:
    tell_ready()


@worker_before_create_process.connect
def _share_with_children(**_: object) -> None:
    """Keep what is loaded out of garbage collection: each look of the collector would copy its pages into the child."""
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def _rest_when_idle(**_: object) -> None:
    rest_when_idle(get_settings().worker_idle_s)


@worker_shutting_down.connect
def _stopping(**_: object) -> None:
    stopping.requested.set()


app = make_celery(resolve_addresses(get_settings()).broker_url, get_settings().cpu_processes)
