"""Calls for help with a shared recompute, on the queue of the workers that can give it.

One call waits at most: it is sent where the queue is empty. A worker that takes it sends the next, and so brings all
workers that have nothing else to do, one after the other.
"""

from uuid import UUID

from kombu import Connection
from kombu.exceptions import OperationalError

from services.core.logging import get_logger
from services.workers import queues
from services.workers.app import app

log = get_logger("workers")


def call_for_help(run_id: UUID) -> None:
    """Ask another worker to share a run, unless something waits in its queue already. Where the broker does not answer,
    nobody comes."""
    try:
        with app.connection() as broker:
            if not waiting(broker):
                app.send_task(queues.HELP, args=(str(run_id),), queue=queues.CPU, connection=broker)
    except (OperationalError, OSError) as error:
        log.warning("nobody-called", run=str(run_id), error=str(error))


def waiting(broker: Connection) -> int:
    """How many messages of the queue nobody has taken yet. One that holds none is unknown to the broker."""
    try:
        return broker.default_channel.queue_declare(queue=queues.CPU, passive=True).message_count
    except broker.channel_errors:
        return 0
