"""Marks in the online store by which its losses are noticed: how far it was written, by partition of users.

They are plain keys beside Feast's. A store that was emptied has none, one that was restored from an old dump has old
ones, and one that was restarted says so by its run id.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.live_keys import ONLINE, TAIL, TAILS
from services.features.store_addresses import redis_client_url

MARK = "portrait:mark:{}"
"""ISO time up to which the partition's portraits have been written."""

TIMEOUT_S = 1.0


@dataclass(frozen=True)
class StoreState:
    """What the online store says of itself: which run of which server, the marks found, and its status if any."""

    run_id: str
    marks: Mapping[int, datetime]
    status: str | None
    since: float | None


class OnlineMarks:
    """The marks, through one short-tempered connection."""

    def __init__(self, addresses: Addresses) -> None:
        self._client = redis.Redis.from_url(
            redis_client_url(addresses), socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S
        )

    def read(self, partitions: Sequence[int]) -> StoreState:
        """The marks of these partitions and the state of the store.

        Raises:
            DependencyDown: the online store does not answer.
        """
        with _answering(), self._client.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.mget([ONLINE, *(MARK.format(partition) for partition in partitions)])
            server, (online, *marks) = pipe.execute()
        status = json.loads(online) if online else {}
        found = zip(partitions, marks, strict=True)
        return StoreState(
            run_id=str(server["run_id"]),
            marks={partition: datetime.fromisoformat(mark.decode()) for partition, mark in found if mark},
            status=status.get("status"),
            since=status.get("since"),
        )

    def write(self, partitions: Sequence[int], mark: datetime) -> None:
        """Set the marks: all portraits stored before `mark` have been written.

        Raises:
            DependencyDown: the online store does not answer.
        """
        with _answering():
            self._client.mset({MARK.format(partition): mark.isoformat() for partition in partitions})

    def set_status(self, status: str, since: float) -> None:
        """Tell the gateways whether the store is complete (`live_keys.READY`) or being filled (`REBUILDING`).

        Raises:
            DependencyDown: the online store does not answer.
        """
        with _answering():
            self._client.set(ONLINE, json.dumps({"status": status, "since": since}))

    def report(self, owner: str, fields: Mapping[str, Any], seconds: int) -> None:
        """Publish what a tail measures; gone after `seconds` without another report.

        Raises:
            DependencyDown: the online store does not answer.
        """
        with _answering(), self._client.pipeline() as pipe:
            pipe.hset(TAIL.format(owner), mapping=dict(fields))
            pipe.expire(TAIL.format(owner), seconds)
            pipe.sadd(TAILS, owner)
            pipe.execute()

    def withdraw(self, owner: str) -> None:
        """Take the report back, as the tail ends."""
        with _answering(), self._client.pipeline() as pipe:
            pipe.delete(TAIL.format(owner))
            pipe.srem(TAILS, owner)
            pipe.execute()


@contextmanager
def _answering() -> Iterator[None]:
    """Errors of the client as ours."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise DependencyDown(
            "The online store (Valkey) is out of memory: raise its maxmemory, or add shards"
        ) from error
    except redis.RedisError as error:
        raise DependencyDown("The online store (Valkey) does not answer: see `portrait doctor`") from error
