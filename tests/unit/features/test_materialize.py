"""What materialisation asks of its source and target."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from services.features.materialize import OVERLAP, materialize

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Source:
    def __init__(self, **rows: int) -> None:
        self.rows, self.asked, self.until = rows, {}, {}

    def latest_batches(self, view_name: str, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        self.asked[view_name] = since
        for _ in range(self.rows[view_name]):
            yield pa.RecordBatch.from_pydict({"x": [1]})

    def entity_count(self, view_name: str, *, since: datetime | None = None) -> int:
        return self.rows[view_name]

    def materialized_until(self, view_name: str) -> datetime | None:
        return self.until.get(view_name)

    def record_materialized(self, view_name: str, until: datetime) -> None:
        self.until[view_name] = until


class Target:
    def online_views(self) -> list[str]:
        return ["one", "two"]

    def write_view(self, view_name: str, table: pa.RecordBatch) -> int:
        return table.num_rows


def test_the_first_run_takes_everything_and_the_next_what_came_since() -> None:
    source = Source(one=1, two=3)
    shares: list[float] = []
    report = materialize(source, Target(), now=NOW, progress=shares.append)
    assert source.asked == {"one": None, "two": None}
    assert report.rows == {"one": 1, "two": 3}
    assert shares == [0.25, 0.5, 0.75, 1.0]
    materialize(source, Target(), now=NOW + timedelta(days=1))
    assert source.asked == {"one": NOW - OVERLAP, "two": NOW - OVERLAP}


def test_everything_means_everything_however_often() -> None:
    source = Source(one=0, two=2)
    source.until = {"one": NOW, "two": NOW}
    report = materialize(source, Target(), everything=True, views=["two"], now=NOW)
    assert source.asked == {"two": None}
    assert report.as_dict()["total_rows"] == 2
