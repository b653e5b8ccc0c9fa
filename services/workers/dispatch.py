"""Ask for background work from a process that is not a worker: the gateway and the CLI."""

from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError

from services.core.errors import DependencyDown
from services.core.types import JobKind
from services.workers.queues import QUEUE_OF, RUN_JOB


class Dispatcher:
    """Sends jobs to the workers' queues. Thread-safe; connections are pooled by Celery."""

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery("portrait-dispatch", broker=broker_url)
        self._celery.conf.update(
            task_ignore_result=True,
            broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
        )

    def enqueue(self, job_id: UUID, what: str) -> None:
        """Send the job to its queue. A job whose message is lost is sent again by the workers' sweep.

        Raises:
            DependencyDown: the broker does not answer; the job stays queued in Postgres and the sweep sends it.
        """
        try:
            self._celery.send_task(
                RUN_JOB, args=(str(job_id),), queue=QUEUE_OF[JobKind(what)], ignore_result=True, retry=False
            )
        except OperationalError as error:
            raise DependencyDown("The Celery broker does not answer: see `portrait doctor`") from error
