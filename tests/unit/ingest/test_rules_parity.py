"""HTTP ingest and file imports judge the same event the same way."""

import json
from datetime import UTC, datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.columns import EVENT_COLUMNS
from services.core.types import EventType
from services.ingest.event_rules import EventRules
from services.ingest.event_wire import narrow
from services.ingest.events import parse_events
from services.ingest.importers.base import ROW
from services.ingest.rules.ratings import RatingScale

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TIMES = [
    "2026-11-23T12:00:00Z",
    "2026-11-23T14:05:00+02:00",
    "2026-11-23T14:05:01.000001+02:00",
    "1990-01-01T00:00:00Z",
    "1989-12-31T23:59:59.999999Z",
    "2027-01-01T00:00:00-11:30",
]
IDS = st.sampled_from(["a", "日本", "x" * 128, "x" * 129, "a\x07", "\u3000", "é b"])
TEXTS = st.sampled_from(["good", "<b>Ｇood</b>", "<br>", "a & b", "x" * 50_001, "\u200b", "&#7;"])
PROPERTIES = {
    "position": st.sampled_from([0, -1, 7, 1_000_000, 1_000_001, 2**31, 2**62]),
    "dwell_ms": st.sampled_from([0, -1, 86_400_000, 86_400_001]),
    "depth": st.sampled_from([0.0, 1.0, 1.0000001, -0.5, 0.25]),
    "quantity": st.sampled_from([0, 1, 2**31]),
    "price": st.sampled_from([0.0, -0.01, 19.99, 1e9, 1e10]),
    "rating": st.sampled_from([0.99, 1.0, 4.5, 5.0, 5.01]),
    "text": TEXTS,
    "query": TEXTS,
}
ROWS = st.fixed_dictionaries(
    {
        "event_id": IDS,
        "user_id": IDS,
        "type": st.sampled_from(list(map(str, EventType))),
        "timestamp": st.sampled_from(TIMES),
    },
    optional={"item_id": IDS, "session_id": IDS, "surface": IDS, **PROPERTIES},
)


def over_http(rows: list[dict[str, object]]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    events = []
    for row in rows:
        properties = {name: value for name, value in row.items() if name in PROPERTIES}
        events.append({**{k: v for k, v in row.items() if k not in PROPERTIES}, "properties": properties})
    parsed = parse_events(json.dumps({"events": events}).encode(), NOW)
    return parsed.frame, [(r.index, r.code) for r in parsed.rejected]


def from_a_file(rows: list[dict[str, object]]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """The rows as a CSV importer hands them on: every column as text."""
    texts = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in EVENT_COLUMNS}
    frame = pl.DataFrame(texts, schema=dict.fromkeys(EVENT_COLUMNS, pl.String))
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW))
    outcome = EventRules("csv", NOW, RatingScale()).apply(frame)
    return narrow(outcome.frame), list(outcome.rejects.select(ROW, "code").iter_rows())


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=5))
def test_a_row_is_accepted_or_rejected_alike_with_the_same_code(rows):
    http, http_rejects = over_http(rows)
    file, file_rejects = from_a_file(rows)
    assert http_rejects == file_rejects
    assert http.equals(file)
