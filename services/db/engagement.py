"""Item engagement's feature rows, and the lists that Portrait served."""

from datetime import datetime

import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, text

from feature_repo import names
from services.core.types import EventType
from services.db.copy import copy_out, drop_stage, stage
from services.db.session import raw


def served_positions(connection: Connection, since: datetime, until: datetime, positions: int) -> pa.Table:
    """How often Portrait showed each item at each position in `(since, until]`: `item_id`, `position`, `shown`.

    Positions from `positions` − 1 on are counted as that one. Empty where the shop sends impression events of its own.
    """
    query = """
        SELECT item_id, LEAST(position, %(last)s) AS position, count(*) AS shown FROM impressions
        WHERE timestamp > %(since)s AND timestamp <= %(until)s AND NOT EXISTS (
            SELECT FROM events WHERE type = %(impression)s AND timestamp > %(since)s AND timestamp <= %(until)s)
        GROUP BY 1, 2
    """
    parameters = {"since": since, "until": until, "last": positions - 1, "impression": EventType.IMPRESSION.value}
    return copy_out(connection, query, parameters)


def latest_engagement(connection: Connection) -> pa.Table:
    """The newest feature row of every item that has a state (of all items where none has): `item_id`, the features."""
    features = ", ".join(names.ENGAGEMENT_FEATURES)
    newest = f"SELECT {features} FROM {names.ENGAGEMENT_TABLE} e WHERE e.item_id = s.item_id"
    by_item = f"""
        SELECT s.item_id, latest.* FROM item_states s
        CROSS JOIN LATERAL ({newest} ORDER BY e.event_timestamp DESC LIMIT 1) AS latest"""
    if raw(connection).execute("SELECT EXISTS (SELECT FROM item_states)").fetchone() == (True,):
        return copy_out(connection, by_item)
    every = f"SELECT DISTINCT ON (item_id) item_id, {features} FROM {names.ENGAGEMENT_TABLE}"
    return copy_out(connection, f"{every} ORDER BY item_id, event_timestamp DESC")


def record_engagement(connection: Connection, rows: pa.Table, as_of: datetime) -> int:
    """Write feature rows (`item_id`, `event_timestamp` = `as_of`, the features) to the history. Returns how many.

    An item keeps one row a minute, the last one, so that the history grows with the minutes in which something
    happened, not with the events. The newest row of an item is therefore always what was published last.
    """
    if not rows.num_rows:
        return 0
    listed = sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    stage_name = stage(connection, names.ENGAGEMENT_TABLE, rows)
    table, staged = sql.Identifier(names.ENGAGEMENT_TABLE), sql.Identifier(stage_name)
    same_minute = sql.SQL(
        "DELETE FROM {table} e USING {staged} s WHERE e.item_id = s.item_id "
        "AND e.event_timestamp >= date_trunc('minute', %s::timestamptz)"
    ).format(table=table, staged=staged)
    raw(connection).execute(same_minute, (as_of,))
    insert = sql.SQL("INSERT INTO {table} ({listed}) SELECT {listed} FROM {staged}")
    raw(connection).execute(insert.format(table=table, staged=staged, listed=listed))
    drop_stage(connection)
    return rows.num_rows


def prune_engagement(connection: Connection, before: datetime) -> int:
    """Delete the rows that were superseded at `before`: joins from then on see the same. Returns how many."""
    return connection.execute(
        text(
            f"DELETE FROM {names.ENGAGEMENT_TABLE} old USING (SELECT item_id, max(event_timestamp) AS kept "
            f"FROM {names.ENGAGEMENT_TABLE} WHERE event_timestamp <= :before GROUP BY item_id) newest "
            "WHERE old.item_id = newest.item_id AND old.event_timestamp < newest.kept"
        ),
        {"before": before},
    ).rowcount
