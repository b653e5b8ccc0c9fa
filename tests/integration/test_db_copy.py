"""Frames into and out of a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from services.core.addresses import Addresses
from services.db.copy import copy_batches, copy_in, copy_out, upsert
from services.db.session import make_engine, raw, transaction

COLUMNS = """id int, flag bool, small int2, big int8, f4 real, f8 double precision, words text, at timestamptz,
             list text[], numbers int[], data bytea, doc jsonb"""


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    with transaction(engine) as connection:
        raw(connection).execute(f"CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id))")
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
        connection.rollback()


FRAME = pl.DataFrame(
    {
        "id": pl.Series([1, 2], dtype=pl.Int32),
        "flag": [True, None],
        "small": pl.Series([1, None], dtype=pl.Int16),
        "big": [2**62, None],
        "f4": pl.Series([0.1, float("nan")], dtype=pl.Float32),
        "f8": [float("-inf"), None],
        "words": ["a\tb\n\\.\n\\N", ""],
        "at": [datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC), None],
        "list": [["a,b", 'q"\\', "", None, "NULL", "{}"], []],
        "numbers": pl.Series([[1, None], None], dtype=pl.List(pl.Int32)),
        "data": [b"\x00\xff", b""],
        "doc": ['{"a": 1}', None],
    }
)


def test_what_goes_in_comes_out(connection):
    assert copy_in(connection, "things", FRAME) == 2
    out = copy_out(connection, "SELECT * FROM things ORDER BY id")
    assert pl.from_arrow(out).equals(FRAME.with_columns(pl.col("at").dt.cast_time_unit("us")))
    assert out.schema.field("f4").type == pa.float32()


def test_no_rows_still_have_their_types(connection):
    out = copy_out(connection, "SELECT id, words, list, at FROM things WHERE false")
    assert out.num_rows == 0
    assert [field.type for field in out.schema] == [
        pa.int32(),
        pa.string(),
        pa.list_(pa.string()),
        pa.timestamp("us", "UTC"),
    ]


def test_a_single_column_of_nulls_keeps_its_rows(connection):
    assert copy_out(connection, "SELECT NULL::text AS x FROM generate_series(1, 3)")["x"].to_pylist() == [None] * 3


def test_parameters_are_quoted(connection):
    query = "SELECT %s::text AS t, n FROM generate_series(1, 3) n WHERE n = ANY(%s)"
    out = copy_out(connection, query, ["O'Brien {x} %s", [1, 3]])
    assert out.to_pylist() == [{"t": "O'Brien {x} %s", "n": 1}, {"t": "O'Brien {x} %s", "n": 3}]


def test_many_rows_come_in_several_batches(connection):
    query = "SELECT n, 'x' || n AS t FROM generate_series(1, 20000) n"
    batches = list(copy_batches(connection, query, block_bytes=65_536))
    assert len(batches) > 2
    table = pa.Table.from_batches(batches)
    assert table["n"].to_pylist() == list(range(1, 20_001))


def test_a_stream_that_is_left_early_costs_its_transaction_only(connection):
    stream = copy_batches(connection, "SELECT n FROM generate_series(1, 500000) n", block_bytes=65_536)
    next(stream)
    stream.close()
    raw(connection).rollback()
    assert copy_out(connection, "SELECT 1 AS one")["one"].to_pylist() == [1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))) | st.none(), max_size=5))
def test_any_text_survives_the_way_there_and_back(connection, texts):
    raw(connection).execute("DELETE FROM things")
    frame = pl.DataFrame(
        {
            "id": pl.Series(range(len(texts)), dtype=pl.Int32),
            "words": pl.Series(texts, dtype=pl.String),
            "list": pl.Series([[t, t] for t in texts], dtype=pl.List(pl.String)),
        }
    )
    copy_in(connection, "things", frame)
    out = copy_out(connection, "SELECT id, words, list FROM things ORDER BY id")
    assert out["words"].to_pylist() == texts
    assert out["list"].to_pylist() == [[t, t] for t in texts]


def test_upsert_inserts_updates_and_leaves_what_is_the_same(connection):
    rows = pl.DataFrame({"id": [1, 2], "words": ["a", "b"], "flag": [True, True]})
    assert upsert(connection, "things", rows, key=["id"]) == 2
    again = pl.DataFrame({"id": [1, 2, 3, 3], "words": ["a", "B", "c", "C"], "flag": [True, True, None, None]})
    assert upsert(connection, "things", again, key=["id"]) == 2
    out = copy_out(connection, "SELECT id, words FROM things ORDER BY id").to_pylist()
    assert out == [{"id": 1, "words": "a"}, {"id": 2, "words": "B"}, {"id": 3, "words": "C"}]


def test_upsert_can_leave_existing_rows_alone(connection):
    upsert(connection, "things", pl.DataFrame({"id": [1], "words": ["a"]}), key=["id"])
    assert upsert(connection, "things", pl.DataFrame({"id": [1, 2], "words": ["z", "b"]}), key=["id"], update=[]) == 1
    assert copy_out(connection, "SELECT words FROM things ORDER BY id")["words"].to_pylist() == ["a", "b"]
