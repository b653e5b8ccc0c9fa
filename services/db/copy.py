"""Frames into and out of PostgreSQL through COPY, on a SQLAlchemy connection and inside its transaction."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection

from services.core.errors import InvalidInput
from services.db.copy_stream import ARRAY_TYPES, CopyReader, csv_reader, decoded, empty
from services.db.session import raw

Table = pa.Table | pa.RecordBatch | pl.DataFrame

WRITE_BYTES = 1 << 18
READ_BYTES = 1 << 22
TIMESTAMP_FORMAT = "%Y-%m-%d %H:%M:%S%.6f+00"
ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
NULL = "\\N"
STAGE = "portrait_stage"


def as_frame(table: Table) -> pl.DataFrame:
    """A polars frame over any table that this package accepts (no copy where Arrow's layout allows it)."""
    return table if isinstance(table, pl.DataFrame) else pl.from_arrow(table)


def copy_in(connection: Connection, table: str, rows: Table) -> int:
    """Append `rows` to `table` through COPY; columns are matched by name. Returns the number of rows.

    Lists become arrays, structs JSON, binary bytea, naive times UTC.

    Raises:
        InvalidInput: a text holds a NUL character, which PostgreSQL cannot store.
    """
    frame = as_frame(rows)
    if frame.is_empty():
        return 0
    _send(connection, table, frame.columns, copy_csv(frame))
    return frame.height


def copy_lines_in(connection: Connection, table: str, columns: Sequence[str], lines: Iterable[str]) -> None:
    """Append rows that are written as lines of COPY's text format already (without their line breaks)."""
    _send(connection, table, columns, memoryview(("\n".join(lines) + "\n").encode()))


def copy_csv(frame: pl.DataFrame) -> memoryview:
    """The frame in COPY's text format, a line a row. Raises InvalidInput for a NUL character."""
    buffer = io.BytesIO()
    copy_text(frame).write_csv(
        buffer,
        include_header=False,
        separator="\t",
        quote_style="never",
        null_value=NULL,
        datetime_format=TIMESTAMP_FORMAT,
    )
    return buffer.getbuffer()


def copy_out(
    connection: Connection, query: str | sql.Composable, parameters: Sequence[Any] | Mapping[str, Any] | None = None
) -> pa.Table:
    """The rows of `query` as an Arrow table, through COPY; see `copy_batches`."""
    batches = list(copy_batches(connection, query, parameters))
    return pa.Table.from_batches(batches)


def copy_batches(
    connection: Connection,
    query: str | sql.Composable,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    block_bytes: int = READ_BYTES,
) -> Iterator[pa.RecordBatch]:
    """The rows of `query` in record batches of about `block_bytes`, at least one (empty) batch.

    `parameters` are psycopg's, quoted on the client because COPY takes none. JSON, uuid and pgvector come as text.
    The connection is busy until the iterator is exhausted. Closing it early cancels the query, which ends the
    transaction: roll back before going on.
    """
    inner = _bound(connection, query, parameters)
    names, types = _describe(connection, inner)
    outer = sql.SQL("COPY (SELECT {} FROM ({}) AS q) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(_readable(name, kind) for name, kind in zip(names, types, strict=True)), inner
    )
    with raw(connection).cursor() as cursor, cursor.copy(outer) as copy:
        reader = CopyReader(copy)
        stream = io.BufferedReader(reader, block_bytes)
        try:
            if not stream.peek(1):
                yield decoded(empty(names, types), names, types)
                return
            for batch in csv_reader(stream, names, types, block_bytes):
                yield decoded(batch, names, types)
        finally:
            reader.stop()


def upsert(
    connection: Connection,
    table: str,
    rows: Table,
    *,
    key: Sequence[str],
    update: Iterable[str] | None = None,
    touch: str | None = None,
) -> int:
    """Insert `rows`, or update those whose `key` exists. Returns how many rows were inserted or changed.

    `update` names the columns to overwrite (all but the key when None; empty: existing rows stay as they are). A row
    that says nothing new is not written. `touch` names a timestamp column that becomes `now()` on a change. Of rows
    that repeat a key in one call the last counts. Keys are written in order, so concurrent calls cannot deadlock.
    """
    frame = as_frame(rows).unique(subset=list(key), keep="last", maintain_order=True)
    if frame.is_empty():
        return 0
    stage(connection, table, frame)
    updated = [c for c in frame.columns if c not in key] if update is None else list(update)
    statement = sql.SQL("INSERT INTO {t} AS old ({c}) SELECT {c} FROM {s} ORDER BY {k} ON CONFLICT ({k}) {action}")
    done = raw(connection).execute(
        statement.format(
            t=sql.Identifier(table),
            s=sql.Identifier(STAGE),
            c=_columns(frame.columns),
            k=_columns(key),
            action=_on_conflict(updated, touch),
        )
    )
    drop_stage(connection)
    return done.rowcount


def stage(connection: Connection, table: str, rows: Table) -> str:
    """Copy `rows` into a temporary table with the columns' types of `table`. Returns its name; see `drop_stage`."""
    frame = as_frame(rows)
    statement = sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
        sql.Identifier(STAGE), _columns(frame.columns), sql.Identifier(table)
    )
    raw(connection).execute(statement)
    copy_in(connection, STAGE, frame)
    return STAGE


def drop_stage(connection: Connection) -> None:
    """Drop the temporary table of `stage` before the transaction ends, so that another may follow."""
    raw(connection).execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("pg_temp", STAGE)))


def copy_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every column as COPY's text format wants it (numbers and times are left to the CSV writer)."""
    result = frame.select(_copy_expression(name, dtype).alias(name) for name, dtype in frame.schema.items())
    texts = [name for name, dtype in result.schema.items() if dtype == pl.String]
    nul = result.select(pl.col(texts).str.contains("\0", literal=True).any()).row(0) if texts else ()
    if any(nul):
        name = texts[nul.index(True)]
        raise InvalidInput(f"{name} holds a NUL character, which PostgreSQL cannot store: take it out of the text")
    return result


def _copy_expression(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return _escape(column)
    if isinstance(dtype, pl.List | pl.Array):
        return _escape(_array_literal(column, dtype.inner))
    if isinstance(dtype, pl.Struct):
        return _escape(column.struct.json_encode())
    if dtype == pl.Binary:
        return pl.lit("\\\\x") + column.bin.encode("hex")
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return _escape(column.cast(pl.String))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return column.dt.replace_time_zone("UTC")
        return column.dt.convert_time_zone("UTC")
    return column


def _escape(text: pl.Expr) -> pl.Expr:
    return text.str.replace_many(list(ESCAPES), list(ESCAPES.values()))


def _array_literal(column: pl.Expr, inner: pl.DataType) -> pl.Expr:
    """PostgreSQL's `{…}` of a list column; a null in a list stays a null."""
    element = pl.element()
    if inner == pl.String:
        element = '"' + element.str.replace_many(["\\", '"'], ["\\\\", '\\"']) + '"'
    else:
        element = element.cast(pl.String)
    joined = column.list.eval(element.fill_null("NULL")).list.join(",")
    return pl.lit("{") + joined + pl.lit("}")


def _send(connection: Connection, table: str, columns: Iterable[str], content: memoryview) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), _columns(columns))
    with raw(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for start in range(0, len(content), WRITE_BYTES):
            copy.write(content[start : start + WRITE_BYTES])


def _columns(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def _on_conflict(updated: Sequence[str], touch: str | None) -> sql.Composable:
    if not updated:
        return sql.SQL("DO NOTHING")
    pairs = [sql.SQL("{c} = EXCLUDED.{c}").format(c=sql.Identifier(name)) for name in updated]
    if touch is not None:
        pairs.append(sql.SQL("{} = now()").format(sql.Identifier(touch)))
    old = sql.SQL(", ").join(sql.Identifier("old", name) for name in updated)
    new = sql.SQL(", ").join(sql.Identifier("excluded", name) for name in updated)
    return sql.SQL("DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({})").format(sql.SQL(", ").join(pairs), old, new)


def _bound(connection: Connection, query: str | sql.Composable, parameters: Any) -> sql.SQL:
    driver = raw(connection)
    text = query if isinstance(query, str) else query.as_string(driver)
    if parameters is not None:
        text = psycopg.ClientCursor(driver).mogrify(text, parameters)
    return sql.SQL(text.replace("{", "{{").replace("}", "}}")).format()


def _describe(connection: Connection, query: sql.Composable) -> tuple[list[str], list[str]]:
    """Names and PostgreSQL type names of a query's columns, without running it."""
    driver = raw(connection)
    with driver.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT * FROM ({}) AS q LIMIT 0").format(query), prepare=False)
        names = [column.name for column in cursor.description or ()]
        codes = [column.type_code for column in cursor.description or ()]
        cursor.execute("SELECT oid::int, format_type(oid, NULL), typname FROM pg_type WHERE oid = ANY(%s)", (codes,))
        found = {oid: f"{name.lstrip('_')}[]" if full.endswith("[]") else name for oid, full, name in cursor}
    return names, [found[code] for code in codes]


def _readable(name: str, kind: str) -> sql.Composable:
    column = sql.Identifier(name)
    if kind in ARRAY_TYPES:
        return sql.SQL("to_json({0})::text AS {0}").format(column)
    if kind == "bytea":
        return sql.SQL("encode({0}, 'hex') AS {0}").format(column)
    if kind == "numeric":
        return sql.SQL("{0}::float8 AS {0}").format(column)
    return column
