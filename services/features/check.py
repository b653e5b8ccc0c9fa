"""Is the feature store sound? Rows and freshness of each view, and whether online and offline agree on a sample."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
import pyarrow as pa

from services.core.errors import PortraitError

SAMPLE = 100


@dataclass(frozen=True)
class ViewSummary:
    """Of the offline rows of a view: how many, of how many entities, and the newest event time."""

    rows: int
    entities: int
    newest: datetime | None


@dataclass(frozen=True)
class ViewCheck:
    """What is known of a view, and what is wrong with it (None: nothing).

    Of `sampled` entities, `agreeing` have the offline values online; `behind` have older ones or none.
    """

    view: str
    online: bool
    rows: int = 0
    entities: int = 0
    newest: datetime | None = None
    age_s: float | None = None
    sampled: int = 0
    agreeing: int = 0
    behind: int = 0
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The check as a JSON-serialisable object."""
        return asdict(self) | {"newest": None if self.newest is None else self.newest.isoformat()}


class Source(Protocol):
    """`services.features.offline.reader.OfflineReader`."""

    def view_names(self) -> list[str]: ...

    def summary(self, view_name: str) -> ViewSummary: ...

    def sample(self, view_name: str, count: int) -> tuple[list[str], pa.Table]: ...


class Online(Protocol):
    """`services.features.online.OnlineReader`."""

    def online_views(self) -> list[str]: ...

    def values(self, view_name: str, entity_ids: Sequence[str]) -> list[dict[str, Any] | None]: ...

    def expired(self, view_name: str, timestamp: datetime, now: datetime) -> bool: ...


def check_views(source: Source, online: Online, *, now: datetime, sample: int = SAMPLE) -> list[ViewCheck]:
    """Every view of the registry. A view whose table cannot be read is reported, not raised."""
    kept = set(online.online_views())
    return [_check(source, online, name, name in kept, now, sample) for name in source.view_names()]


def _check(source: Source, online: Online, name: str, is_online: bool, now: datetime, size: int) -> ViewCheck:
    try:
        summary = source.summary(name)
        ids, rows = source.sample(name, size) if is_online else ([], None)
    except PortraitError as error:
        return ViewCheck(name, is_online, problem=error.detail)
    agreeing, behind, sampled = 0, 0, 0
    if rows is not None:
        for offline, stored in zip(rows.to_pylist(), online.values(name, ids), strict=True):
            if online.expired(name, offline["event_timestamp"], now):
                continue
            sampled += 1
            agreeing += stored is not None and all(_same(offline[key], value) for key, value in stored.items())
        behind = sampled - agreeing
    problem = None
    if behind:
        problem = f"{behind} of {sampled} sampled entities differ online: run `portrait features materialize --all`"
    return ViewCheck(
        view=name,
        online=is_online,
        rows=summary.rows,
        entities=summary.entities,
        newest=summary.newest,
        age_s=None if summary.newest is None else round((now - summary.newest).total_seconds(), 1),
        sampled=sampled,
        agreeing=agreeing,
        behind=behind,
        problem=problem,
    )


def _same(offline: Any, stored: Any) -> bool:
    """Whether two values are the same; Feast keeps times online in whole seconds."""
    if isinstance(offline, datetime):
        return stored == int(offline.replace(tzinfo=offline.tzinfo or UTC).timestamp())
    if isinstance(offline, str) and isinstance(stored, str) and offline[:1] == stored[:1] == "[":
        return orjson.loads(offline) == orjson.loads(stored)  # PostgreSQL spaces JSON in its own way
    return offline == stored
