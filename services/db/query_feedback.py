"""What people do after a search, attributed by `request_id` and summed by query: exact, and from new rows alone.

A pair of a search and an event of the same `request_id` is counted once, by the run that first sees both: either may
have been committed before the other. Sums fade by forward decay (Cormode et al., "Forward Decay: A Practical Time
Decay Model for Streaming Systems", ICDE 2009): an event counts w · 2^((t − `EPOCH`) / half-life), so sums of any
batches, in any order, simply add up; a reader multiplies by 2^(−(now − `EPOCH`) / half-life).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

import orjson
import psycopg
from sqlalchemy import Connection

from services.core.types import EventType
from services.db.checkpoints import get_checkpoint, set_checkpoint, transaction_horizon
from services.db.session import raw

CHECKPOINT = "query-feedback"
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
DAY_S = 86_400.0

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        EventType.CLICK.value: 1.0,
        EventType.FAVOURITE.value: 2.0,
        EventType.CART.value: 3.0,
        EventType.PURCHASE.value: 8.0,
    }
)


@dataclass(frozen=True)
class FeedbackConfig:
    """How fast what people did is forgotten, and how much each kind of event says."""

    half_life_s: float = 60 * DAY_S
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)


@dataclass(frozen=True)
class Attributed:
    """What one run counted."""

    searches: int
    events: int


FADED = "power(2::float8, extract(epoch FROM {time} - %(epoch)s::timestamptz)::float8 / %(half_life)s)"
NEW = "{0}.txid >= %(since)s::text::xid8 AND {0}.txid < %(below)s::text::xid8"
OLD = "{0}.txid < %(since)s::text::xid8"

COUNT_SEARCHES = f"""
INSERT INTO query_statistics AS old (query, example, searches, zero_results, results, recent, first_at, last_at)
SELECT normalised, (array_agg(query ORDER BY timestamp DESC, request_id))[1], count(*),
  count(*) FILTER (WHERE total = 0), sum(total), sum({FADED.format(time="timestamp")}), min(timestamp), max(timestamp)
FROM searches s WHERE {NEW.format("s")} GROUP BY normalised
ON CONFLICT (query) DO UPDATE SET
  example = CASE WHEN excluded.last_at >= old.last_at THEN excluded.example ELSE old.example END,
  searches = old.searches + excluded.searches, zero_results = old.zero_results + excluded.zero_results,
  results = old.results + excluded.results, recent = old.recent + excluded.recent,
  first_at = least(old.first_at, excluded.first_at), last_at = greatest(old.last_at, excluded.last_at)
"""

STAGE = """
CREATE TEMPORARY TABLE attributed (
  request_id text, normalised text, item_id text, type text, timestamp timestamptz, position bigint
) ON COMMIT DROP
"""

PAIRS = """
INSERT INTO attributed
SELECT s.request_id, s.normalised, e.item_id, e.type, e.timestamp,
  coalesce(e.position, (SELECT min(i.position) FROM impressions i
    WHERE i.request_id = s.request_id AND i.item_id = e.item_id)) AS position
FROM searches s JOIN events e USING (request_id)
WHERE e.item_id IS NOT NULL AND e.type = ANY(%(types)s) AND {which}
"""
NEW_EVENTS = f"{NEW.format('e')} AND s.txid < %(below)s::text::xid8"
LATE_SEARCHES = f"""{OLD.format("e")} AND {NEW.format("s")}
  AND e.timestamp >= (SELECT min(n.timestamp) - interval '1 hour' FROM searches n WHERE {NEW.format("n")})"""
"""Events are looked for from an hour before the oldest of the new searches: clocks differ, and nobody clicks before."""

COUNT_EVENTS = """
WITH clicked AS (
  UPDATE searches s SET clicked = true FROM (SELECT DISTINCT request_id FROM attributed WHERE type = %(click)s) a
  WHERE s.request_id = a.request_id AND NOT s.clicked RETURNING s.normalised
), by_query AS (
  SELECT normalised, count(*) FILTER (WHERE type = %(click)s) AS clicks,
    count(*) FILTER (WHERE type = %(cart)s) AS carts, count(*) FILTER (WHERE type = %(purchase)s) AS purchases,
    coalesce(sum(position) FILTER (WHERE type = %(click)s), 0) AS positions,
    count(position) FILTER (WHERE type = %(click)s) AS positioned
  FROM attributed GROUP BY normalised
)
UPDATE query_statistics q SET
  clicked = q.clicked + (SELECT count(*) FROM clicked c WHERE c.normalised = q.query),
  clicks = q.clicks + b.clicks, carts = q.carts + b.carts, purchases = q.purchases + b.purchases,
  positions = q.positions + b.positions, positioned = q.positioned + b.positioned
FROM by_query b WHERE b.normalised = q.query
"""

COUNT_ITEMS = f"""
INSERT INTO query_items AS old (query, item_id, clicks, carts, purchases, weight, last_at)
SELECT normalised, item_id, count(*) FILTER (WHERE type = %(click)s), count(*) FILTER (WHERE type = %(cart)s),
  count(*) FILTER (WHERE type = %(purchase)s),
  sum((%(weights)s::jsonb ->> type)::float8 * {FADED.format(time="timestamp")}), max(timestamp)
FROM attributed GROUP BY normalised, item_id
ON CONFLICT (query, item_id) DO UPDATE SET
  clicks = old.clicks + excluded.clicks, carts = old.carts + excluded.carts,
  purchases = old.purchases + excluded.purchases, weight = old.weight + excluded.weight,
  last_at = greatest(old.last_at, excluded.last_at)
"""


def attribute(connection: Connection, config: FeedbackConfig | None = None, *, everything: bool = False) -> Attributed:
    """Count the searches and events that were committed since the last run; `everything`: begin anew, with the searches
    that are still kept.

    Another configuration than the last run's begins anew as well. The caller commits: counts and checkpoint are one.
    """
    config = config or FeedbackConfig()
    driver = _alone(connection)
    below = transaction_horizon(connection)
    known = get_checkpoint(connection, CHECKPOINT)
    counted = {"half_life_s": config.half_life_s, "weights": dict(config.weights)}
    since = 0
    if known is not None and known["config"] == counted and not everything:
        since = known["below"]
    else:
        driver.execute("TRUNCATE query_statistics, query_items")
        driver.execute("UPDATE searches SET clicked = false WHERE clicked")
    parameters = {
        "since": str(since),
        "below": str(below),
        "epoch": EPOCH,
        "half_life": config.half_life_s,
        "types": list(config.weights),
        "weights": orjson.dumps(counted["weights"]).decode(),
        **{kind.value: kind.value for kind in (EventType.CLICK, EventType.CART, EventType.PURCHASE)},
    }
    searches = driver.execute(f"SELECT count(*) FROM searches s WHERE {NEW.format('s')}", parameters).fetchone()[0]
    driver.execute(STAGE)
    events = driver.execute(PAIRS.format(which=NEW_EVENTS), parameters).rowcount
    if searches:
        driver.execute(COUNT_SEARCHES, parameters)
        events += driver.execute(PAIRS.format(which=LATE_SEARCHES), parameters).rowcount
    if events:
        driver.execute(COUNT_EVENTS, parameters)
        driver.execute(COUNT_ITEMS, parameters)
    driver.execute("DROP TABLE attributed")
    set_checkpoint(connection, CHECKPOINT, {"below": below, "config": counted})
    return Attributed(searches, events)


def prune_searches(connection: Connection, before: datetime) -> int:
    """Forget searches older than `before`, and the sums of what nobody asked or took since: counting anew would not
    give them. Returns how many searches."""
    driver = _alone(connection)
    driver.execute("DELETE FROM query_items WHERE last_at < %s", (before,))
    driver.execute("DELETE FROM query_statistics WHERE last_at < %s", (before,))
    return driver.execute("DELETE FROM searches WHERE timestamp < %s", (before,)).rowcount


def _alone(connection: Connection) -> psycopg.Connection:
    """The driver's connection, once no other transaction counts or prunes."""
    driver = raw(connection)
    driver.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (CHECKPOINT,))
    return driver
