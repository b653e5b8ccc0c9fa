"""What the tails say in the online store of the portraits: whether they are all there, and how far behind they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.live_keys import ONLINE, PARTITIONS_OWNED, TAIL, TAILS
from services.core.valkey import FAILED, Client, connect
from services.features.store_addresses import redis_client_url

TIMEOUT_S = 1.0


@dataclass(frozen=True)
class TailReading:
    """The last report of one tail, or of a process that keeps item engagement: `numbers` by name (`lag_events`,
    `lag_seconds`, `partitions`, `updated_at` …), and how long events took to get into portraits, as a histogram: upper
    `bounds` in seconds, `counts` by bucket (one more for what took longer; not cumulative), `total` seconds."""

    owner: str
    numbers: Mapping[str, float]
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    total: float = 0.0

    @classmethod
    def of(cls, owner: str, fields: Mapping[bytes, bytes]) -> "TailReading":
        """A report as it lies in the store."""
        texts = {name.decode(): value for name, value in fields.items()}
        histogram = json.loads(texts.pop("event_to_portrait", b"{}"))
        return cls(
            owner=owner,
            numbers={name: float(value) for name, value in texts.items() if _is_number(value)},
            bounds=tuple(histogram.get("buckets", ())),
            counts=tuple(histogram.get("counts", ())),
            total=float(histogram.get("sum", 0.0)),
        )


@dataclass(frozen=True)
class LiveReading:
    """`online`: what the store's state is said to be, None where nothing is said; `tails`: who tails users' events;
    `items`: who keeps the engagement of items, or looks on."""

    online: str | None
    since: float | None = None
    tails: tuple[TailReading, ...] = field(default_factory=tuple)
    items: tuple[TailReading, ...] = field(default_factory=tuple)


class LiveStatus:
    """Reads of one thread."""

    def __init__(self, addresses: Addresses) -> None:
        self._url = redis_client_url(addresses)

    @cached_property
    def _client(self) -> Client:
        return connect(self._url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)

    def read(self) -> LiveReading:
        """How things stand: two round trips. The names of tails that report no more are forgotten.

        Raises:
            DependencyDown: the online store does not answer.
        """
        try:
            with self._client.pipeline(transaction=False) as pipe:
                pipe.get(ONLINE)
                pipe.smembers(TAILS)
                online, owners = pipe.execute()
            names = sorted(owner.decode() for owner in owners)
            with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(TAIL.format(name))
                reports = dict(zip(names, pipe.execute(), strict=True)) if names else {}
            gone = [name for name, fields in reports.items() if not fields]
            if gone:
                self._client.srem(TAILS, *gone)
        except FAILED as error:
            raise DependencyDown("The online store (Valkey) does not answer: see `portrait doctor`") from error
        said = json.loads(online) if online else {}
        readings = [TailReading.of(name, fields) for name, fields in reports.items() if fields]
        tails = tuple(reading for reading in readings if PARTITIONS_OWNED in reading.numbers)
        items = tuple(reading for reading in readings if PARTITIONS_OWNED not in reading.numbers)
        return LiveReading(said.get("status"), said.get("since"), tails, items)


def _is_number(value: bytes) -> bool:
    return value.replace(b".", b"", 1).replace(b"-", b"", 1).replace(b"e", b"", 1).isdigit()
