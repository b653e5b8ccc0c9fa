"""Reading what item engagement is computed from, and writing its feature rows."""

from datetime import datetime, timedelta

import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, text

from feature_repo import names
from services.core.types import EventType
from services.db.copy import copy_out, drop_stage, stage
from services.db.session import raw

UNKNOWN_WITHOUT_EVENTS = frozenset({"click_rate", "purchase_rate", "rating_mean", "sentiment_mean"})
"""Features that are null, not 0, for an item without events."""

SEARCH_STEPS = (timedelta(days=35), timedelta(days=400))


def newest_engagement(connection: Connection, until: datetime) -> datetime | None:
    """Event time of the newest event on an item at or before `until`; None without one.

    Looks at the latest months first, so that a busy shop's whole log is not scanned.
    """
    query = text("SELECT max(timestamp) FROM events WHERE timestamp <= :until AND timestamp > :since AND item_id <> ''")
    for step in SEARCH_STEPS:
        found = connection.execute(query, {"until": until, "since": until - step}).scalar()
        if found is not None:
            return found
    everything = text("SELECT max(timestamp) FROM events WHERE timestamp <= :until AND item_id IS NOT NULL")
    return connection.execute(everything, {"until": until}).scalar()


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


def write_engagement(connection: Connection, rows: pa.Table, as_of: datetime) -> int:
    """Write the engagement rows as of a time; returns how many rows were written.

    An item whose values are those of its latest row gets no new one. Items with an earlier row that are not in `rows`
    have lost their events: they get a row that says so.
    """
    features = sql.SQL(", ").join(map(sql.Identifier, names.ENGAGEMENT_FEATURES))
    stage_name = stage(connection, names.ENGAGEMENT_TABLE, rows)
    statement = sql.SQL(
        """
        WITH latest AS (
            SELECT DISTINCT ON (item_id) item_id, {features} FROM {table} WHERE event_timestamp <= %(as_of)s
            ORDER BY item_id, event_timestamp DESC
        ), fresh AS (
            SELECT item_id, {features} FROM {stage}
            UNION ALL
            SELECT item_id, {empty} FROM latest WHERE item_id NOT IN (SELECT item_id FROM {stage})
        )
        INSERT INTO {table} (item_id, event_timestamp, {features})
        SELECT f.item_id, %(as_of)s, {of_fresh} FROM fresh f LEFT JOIN latest l USING (item_id)
        WHERE l.item_id IS NULL OR ({of_latest}) IS DISTINCT FROM ({of_fresh})
        ON CONFLICT (item_id, event_timestamp) DO UPDATE SET {update}, created = now()
        """
    ).format(
        table=sql.Identifier(names.ENGAGEMENT_TABLE),
        stage=sql.Identifier(stage_name),
        features=features,
        empty=sql.SQL(", ").join(_empty_value(name) for name in names.ENGAGEMENT_FEATURES),
        of_fresh=_of("f"),
        of_latest=_of("l"),
        update=sql.SQL(", ").join(
            sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in names.ENGAGEMENT_FEATURES
        ),
    )
    written = raw(connection).execute(statement, {"as_of": as_of}).rowcount
    drop_stage(connection)
    return written


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


def _of(alias: str) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names.ENGAGEMENT_FEATURES)


def _empty_value(name: str) -> sql.SQL:
    if name in UNKNOWN_WITHOUT_EVENTS:
        return sql.SQL("NULL::real")
    return sql.SQL("1::real" if name == "trend" else "0::real")
