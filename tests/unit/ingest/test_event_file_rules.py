"""The rules on rows of a file: what is dropped, what is changed, and how it is counted."""

from datetime import UTC, datetime

import polars as pl

from services.ingest.event_rules import EventRules
from services.ingest.importers.base import ROW
from services.ingest.rules.names import Rule
from services.ingest.rules.ratings import RatingScale

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def apply(rows: list[dict[str, object]], scale: RatingScale | None = None, identity: tuple[str, ...] = ()):
    base = {"user_id": "u", "item_id": "i", "type": "view", "timestamp": "1700000000"}
    frame = pl.DataFrame([{**base, **row} for row in rows], infer_schema_length=None).with_row_index(ROW, offset=1)
    frame = frame.with_columns(pl.col(ROW).cast(pl.Int64))
    return EventRules("test", NOW, scale or RatingScale(), identity).apply(frame)


def test_what_cannot_be_read_is_rejected_with_its_row_rule_and_original():
    outcome = apply([{}, {"dwell_ms": "long"}, {"timestamp": "soon"}, {"user_id": ""}, {"dwell_ms": "-5"}])
    assert outcome.rejects.select(ROW, "rule", "code").rows() == [
        (2, "malformed", "wrong-type"),
        (3, "malformed", "invalid-timestamp"),
        (4, "malformed", "missing-field"),
        (5, "impossible", "dwell-ms-range"),
    ]
    assert outcome.rejects["original"][0] == (
        '{"user_id":"u","item_id":"i","type":"view","timestamp":"1700000000","dwell_ms":"long"}'
    )
    assert outcome.frame[ROW].to_list() == [1]


def test_whole_numbers_written_as_floats_are_whole_numbers():
    outcome = apply([{"dwell_ms": "1200.0"}, {"dwell_ms": "1200.5"}])
    assert outcome.frame["dwell_ms"].to_list() == [1200]
    assert outcome.rejects[ROW].to_list() == [2]


def test_changes_are_counted_by_rule():
    rows = [
        {"type": "review", "text": "<b>good</b>", "rating": "8", "price": None},
        {"type": "review", "text": "good", "rating": "10", "price": None},
        {"type": "purchase", "text": None, "rating": None, "price": "$1,299.00"},
        {"type": "purchase", "text": None, "rating": None, "price": "call us"},
    ]
    outcome = apply(rows, RatingScale(0, 10))
    assert outcome.changed == {
        Rule.TEXT_CLEANED: 1,
        Rule.RATING_RESCALED: 2,
        Rule.PRICE_PARSED: 1,
        Rule.PRICE_UNREADABLE: 1,
        Rule.TIME_CONVERTED: 4,
    }
    assert outcome.frame["rating"].to_list() == [4.2, 5.0, None, None]
    assert outcome.frame["price"].to_list() == [None, None, 1299.0, None]
    assert outcome.rejects.is_empty()


def test_a_rating_outside_its_own_scale_is_impossible():
    outcome = apply([{"type": "rating", "rating": "11"}], RatingScale(1, 10))
    assert outcome.rejects["rule"].to_list() == [Rule.IMPOSSIBLE]


def test_rows_without_an_id_get_one_made_of_their_content():
    ids = apply([{}, {}, {"item_id": "j"}]).frame["event_id"].to_list()
    assert ids[0] == ids[1] != ids[2]
    assert ids == apply([{}, {}, {"item_id": "j"}]).frame["event_id"].to_list()
    assert all(len(i) <= 128 for i in ids)


def test_the_identity_names_what_an_id_is_made_of():
    ids = apply([{"surface": "a"}, {"surface": "b"}], identity=("user_id", "item_id")).frame["event_id"].to_list()
    assert ids[0] == ids[1]


def test_given_ids_are_kept():
    assert apply([{"event_id": "mine"}, {"event_id": None}]).frame["event_id"][0] == "mine"
