"""What `services.db.query_feedback` has summed, read back: statistics by query, and items by query."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from psycopg.rows import class_row
from sqlalchemy import Connection

from services.core.types import EventType
from services.db.copy import copy_out
from services.db.query_feedback import EPOCH, FeedbackConfig
from services.db.session import raw


@dataclass(frozen=True)
class QueryRow:
    """One query. `clicked`: searches with a click; `mean_position`: of the clicks, from 0; `recent`: faded searches."""

    query: str
    example: str
    searches: int
    zero_results: int
    mean_results: float
    clicked: int
    click_through: float
    clicks: int
    carts: int
    purchases: int
    mean_position: float | None
    recent: float
    first_at: datetime
    last_at: datetime


ROWS = """
SELECT query, example, searches, zero_results, results::float8 / searches AS mean_results, clicked,
  clicked::float8 / searches AS click_through, clicks, carts, purchases,
  positions::float8 / nullif(positioned, 0) AS mean_position, recent * %(fade)s AS recent, first_at, last_at
FROM query_statistics WHERE {which} ORDER BY {order} LIMIT %(most)s
"""
BY_SEARCHES = "recent DESC, query"
MOST_FREQUENT = "true"
WITHOUT_RESULTS = "zero_results > 0 AND 2 * zero_results >= searches"
SELDOM_CLICKED = "zero_results < searches AND searches >= %(least)s AND clicked < %(share)s * searches"


def frequent_queries(connection: Connection, now: datetime, most: int) -> list[QueryRow]:
    """The queries asked most of late."""
    return _rows(connection, MOST_FREQUENT, now, most)


def queries_without_results(connection: Connection, now: datetime, most: int) -> list[QueryRow]:
    """Queries at least half of whose searches found nothing, those asked most of late first."""
    return _rows(connection, WITHOUT_RESULTS, now, most)


def seldom_clicked_queries(
    connection: Connection, now: datetime, most: int, *, least: int, share: float
) -> list[QueryRow]:
    """Queries that find something, were asked at least `least` times, and clicked after fewer than `share` of them."""
    return _rows(connection, SELDOM_CLICKED, now, most, least=least, share=share)


def search_totals(connection: Connection) -> dict[str, int]:
    """Sums over all queries: `queries`, `searches`, `zero_results`, `clicked`, `clicks`, `carts`, `purchases`."""
    names = ("searches", "zero_results", "clicked", "clicks", "carts", "purchases")
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint" for name in names)
    row = raw(connection).execute(f"SELECT count(*), {sums} FROM query_statistics").fetchone()
    assert row is not None
    return dict(zip(("queries", *names), row, strict=True))


def query_item_weights(connection: Connection, now: datetime, least: float = 1e-3) -> pa.Table:
    """`query`, `item_id`, `weight` as of `now`, by query and item; weights below `least` are forgotten."""
    faded = f"SELECT query, item_id, weight * {_fade(now)!r}::float8 AS weight FROM query_items"
    return copy_out(connection, f"SELECT * FROM ({faded}) f WHERE weight >= %s ORDER BY query, item_id", [least])


def successful_queries(connection: Connection, most: int) -> dict[str, int]:
    """How many users asked each of the queries asked most of late that find something, by its text as last typed.

    Searches without a user count as those of one more: they may all be.
    """
    statement = f"""
        WITH successful AS (
          SELECT query, example FROM query_statistics WHERE 2 * zero_results < searches
          ORDER BY {BY_SEARCHES} LIMIT %s
        )
        SELECT q.example, count(DISTINCT s.user_id) + bool_or(s.user_id IS NULL)::int
        FROM successful q JOIN searches s ON s.normalised = q.query GROUP BY q.query, q.example
    """
    return dict(raw(connection).execute(statement, (most,)).fetchall())


def reformulations(
    connection: Connection, queries: list[str], *, within_s: float, most: int
) -> list[tuple[str, str, int]]:
    """(query, next query, users): what the same people asked within `within_s` seconds after these queries and then
    clicked, the most frequent first, up to `most` of each."""
    statement = """
        SELECT query, next, users FROM (
          SELECT a.normalised AS query, b.normalised AS next, count(DISTINCT a.user_id) AS users,
            row_number() OVER (PARTITION BY a.normalised ORDER BY count(DISTINCT a.user_id) DESC, b.normalised) AS place
          FROM searches a JOIN searches b ON b.user_id = a.user_id AND b.normalised <> a.normalised
            AND b.timestamp > a.timestamp AND b.timestamp <= a.timestamp + make_interval(secs => %s) AND b.clicked
          WHERE a.normalised = ANY(%s) AND NOT a.clicked
          GROUP BY 1, 2
        ) counted WHERE place <= %s ORDER BY query, place
    """
    return [tuple(row) for row in raw(connection).execute(statement, (within_s, queries, most))]


def neighbour_queries(connection: Connection, queries: list[str], *, most: int) -> list[tuple[str, str, float]]:
    """(query, other query, likeness 0–1): others after which people take the same items, the most alike first, up to
    `most` of each. The likeness is the cosine of the weights by item."""
    statement = """
        WITH norms AS (SELECT query, sqrt(sum(weight * weight)) AS norm FROM query_items GROUP BY query)
        SELECT query, other, likeness FROM (
          SELECT a.query, b.query AS other, sum(a.weight * b.weight) / (n.norm * m.norm) AS likeness,
            row_number() OVER (PARTITION BY a.query
              ORDER BY sum(a.weight * b.weight) / (n.norm * m.norm) DESC, b.query) AS place
          FROM query_items a JOIN query_items b ON b.item_id = a.item_id AND b.query <> a.query
          JOIN norms n ON n.query = a.query JOIN norms m ON m.query = b.query
          WHERE a.query = ANY(%s) GROUP BY a.query, b.query, n.norm, m.norm
        ) counted WHERE place <= %s ORDER BY query, place
    """
    return [tuple(row) for row in raw(connection).execute(statement, (queries, most))]


def pending_feedback(connection: Connection, below: int) -> bool:
    """Whether searches, or events that name a request, were committed since the transaction `below`."""
    statement = """
        SELECT EXISTS (SELECT FROM searches WHERE txid >= %(below)s::text::xid8)
          OR EXISTS (SELECT FROM events WHERE txid >= %(below)s::text::xid8 AND request_id IS NOT NULL
            AND type = ANY(%(types)s))
    """
    kinds = [kind.value for kind in (EventType.CLICK, EventType.FAVOURITE, EventType.CART, EventType.PURCHASE)]
    row = raw(connection).execute(statement, {"below": str(below), "types": kinds}).fetchone()
    assert row is not None
    return row[0]


def _rows(connection: Connection, which: str, now: datetime, most: int, **parameters: float) -> list[QueryRow]:
    with raw(connection).cursor(row_factory=class_row(QueryRow)) as cursor:
        statement = ROWS.format(which=which, order=BY_SEARCHES)
        return cursor.execute(statement, {"fade": _fade(now), "most": most, **parameters}).fetchall()


def _fade(now: datetime) -> float:
    """What turns a stored sum into one as of `now`."""
    return float(2.0 ** (-(now - EPOCH).total_seconds() / FeedbackConfig().half_life_s))
