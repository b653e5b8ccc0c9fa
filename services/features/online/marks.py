"""Marks in the online store by which its losses are noticed: how far it was written, by partition of users.

They are plain keys beside Feast's. A store that was emptied has none, one that was restored from an old dump has old
ones, and one that was restarted says so by its run id. In a cluster each shard has marks of its own, under a hash tag
that belongs to it, and what holds for all is the oldest: a shard that lost its data, or slots that moved, are noticed
as an emptied store is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import count
from typing import Any

import redis
from redis.exceptions import OutOfMemoryError

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.live_keys import ONLINE, TAIL, TAILS
from services.core.valkey import FAILED, Client, connect, infos
from services.features.store_addresses import redis_client_url

MARK = "portrait:mark:{}"
"""ISO time up to which the partition's portraits have been written."""
SHARD_MARK = "portrait:mark:{{{}}}:{}"
"""As `MARK`, of one shard of a cluster, by its hash tag."""

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
        self._url = redis_client_url(addresses)

    @cached_property
    def _client(self) -> Client:
        return connect(self._url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)

    def read(self, partitions: Sequence[int]) -> StoreState:
        """The marks of these partitions and the state of the store.

        Raises:
            DependencyDown: the online store does not answer.
        """
        with _answering():
            runs = sorted(str(server["run_id"]) for server in infos(self._client, "server"))
            keys = [self._keys(partition) for partition in partitions]
            with self._client.pipeline(transaction=False) as pipe:
                for key in (ONLINE, *(key for of_partition in keys for key in of_partition)):
                    pipe.get(key)
                online, *found = pipe.execute()
        status = json.loads(online) if online else {}
        marks, found = {}, iter(found)
        for partition, of_partition in zip(partitions, keys, strict=True):
            times = [next(found) for _ in of_partition]
            if all(times):
                marks[partition] = min(datetime.fromisoformat(time.decode()) for time in times)
        return StoreState(
            run_id=runs[0] if len(runs) == 1 else hashlib.blake2b(" ".join(runs).encode(), digest_size=20).hexdigest(),
            marks=marks,
            status=status.get("status"),
            since=status.get("since"),
        )

    def write(self, partitions: Sequence[int], mark: datetime) -> None:
        """Set the marks: all portraits stored before `mark` have been written.

        Raises:
            DependencyDown: the online store does not answer.
        """
        with _answering(), self._client.pipeline(transaction=False) as pipe:
            for partition in partitions:
                for key in self._keys(partition):
                    pipe.set(key, mark.isoformat())
            pipe.execute()

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

    def _keys(self, partition: int) -> list[str]:
        """A partition's mark, one in each shard."""
        client = self._client
        if not isinstance(client, redis.RedisCluster):
            return [MARK.format(partition)]
        missing, keys = {node.name for node in client.get_primaries()}, []
        for tag in count():
            if not missing:
                break
            key = SHARD_MARK.format(tag, partition)
            node = client.get_node_from_key(key)
            if node is not None and node.name in missing:
                missing.remove(node.name)
                keys.append(key)
        return keys


@contextmanager
def _answering() -> Iterator[None]:
    """Errors of the client as ours."""
    try:
        yield
    except OutOfMemoryError as error:
        raise DependencyDown(
            "The online store (Valkey) is out of memory: raise its maxmemory, or add shards"
        ) from error
    except FAILED as error:
        raise DependencyDown("The online store (Valkey) does not answer: see `portrait doctor`") from error
