"""Rebuild the online store from Postgres: the newest row of every entity, view by view, in bounded memory."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Protocol

import pyarrow as pa

OVERLAP = timedelta(hours=1)
"""How far before the last materialisation to look again: a transaction may commit rows of an earlier event time."""


class Source(Protocol):
    """`services.features.offline.reader.OfflineReader`."""

    def latest_batches(self, view_name: str, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]: ...

    def entity_count(self, view_name: str, *, since: datetime | None = None) -> int: ...

    def materialized_until(self, view_name: str) -> datetime | None: ...

    def record_materialized(self, view_name: str, until: datetime) -> None: ...


class Target(Protocol):
    """`services.features.online.OnlineWriter`."""

    def online_views(self) -> list[str]: ...

    def write_view(self, view_name: str, table: pa.RecordBatch) -> int: ...


@dataclass
class MaterializeReport:
    """Rows and seconds by view."""

    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-serialisable object, with totals."""
        total, seconds = sum(self.rows.values()), sum(self.seconds.values())
        return asdict(self) | {
            "total_rows": total,
            "total_seconds": round(seconds, 3),
            "rows_per_second": round(total / seconds) if seconds else 0,
        }


def materialize(
    source: Source,
    target: Target,
    *,
    everything: bool = False,
    views: list[str] | None = None,
    now: datetime | None = None,
    progress: Callable[[float], None] | None = None,
) -> MaterializeReport:
    """Write the newest offline rows to the online store.

    Args:
        everything: all entities; otherwise those with rows since the view's last materialisation.
        views: names; every view that is kept online when None.
        now: recorded as the time up to which the views are materialised.
        progress: called with the share of the rows done.

    What is online and as new as the offline row stays as it is, so that running it at any time is safe.
    """
    names = target.online_views() if views is None else views
    until = datetime.now(UTC) if now is None else now
    since = {name: None if everything else _since(source, name) for name in names}
    total = sum(source.entity_count(name, since=since[name]) for name in names)
    report, done = MaterializeReport(), 0
    for name in names:
        started = perf_counter()
        report.rows[name] = 0
        for batch in source.latest_batches(name, since=since[name]):
            report.rows[name] += target.write_view(name, batch)
            if progress is not None and total:
                progress(min((done + report.rows[name]) / total, 1.0))
        done += report.rows[name]
        report.seconds[name] = round(perf_counter() - started, 3)
        source.record_materialized(name, until)
    return report


def _since(source: Source, view_name: str) -> datetime | None:
    until = source.materialized_until(view_name)
    return None if until is None else until - OVERLAP
