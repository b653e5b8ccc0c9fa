"""The history of portraits: when it is pruned, and that looking for neighbours does not read it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.db.events import insert_events
from services.db.profiles import POOL, PROFILE_TABLES, stored_long_term
from services.db.session import make_engine, raw, transaction
from services.profiles.recompute import recompute_profiles
from services.workers import reviews
from services.workers.handlers import Handlers

DAY = timedelta(days=1)
USERS, TIMES = 40, 30


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=2)
    with transaction(made) as connection:
        tables = (*PROFILE_TABLES, "user_states", "events", "event_keys", "checkpoints")
        connection.execute(text(f"TRUNCATE {', '.join(tables)}"))
    yield made
    made.dispose()


def history_of(engine: Engine, user: str) -> int:
    with transaction(engine) as connection:
        counted = text("SELECT count(*) FROM serving_features WHERE user_id = :user")
        return connection.execute(counted, {"user": user}).scalar_one()


@pytest.mark.parametrize("some", [{"mode": "changed"}, {"user_ids": ["ada"]}, {"since": "2000-01-01T00:00:00+00:00"}])
def test_the_history_is_pruned_by_the_run_of_all_alone(
    engine: Engine, some: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reviews, "score_reviews", lambda *_: 0)
    now = datetime.now(UTC)
    bought = {
        "event_id": ["e1"],
        "user_id": ["ada"],
        "item_id": ["lamp"],
        "type": ["purchase"],
        "timestamp": pa.array([now - 50 * DAY], pa.timestamp("us", tz="UTC")),
    }
    with transaction(engine) as connection:
        insert_events(connection, pa.table(bought))
    for days in (45, 40):
        recompute_profiles(engine, None, as_of=now - days * DAY)
    handlers = Handlers(SimpleNamespace(engine=engine, call_for_help=None, stores=SimpleNamespace(writer=None)))
    assert handlers.profiles(some, lambda share: None)["users"] == 1
    assert history_of(engine, "ada") == 3
    handlers.profiles({"mode": "all"}, lambda share: None)
    assert history_of(engine, "ada") == 2, "what this test made"


def made_often(engine: Engine) -> None:
    """A profile of each user for each of many days, the newest with the user's number in it."""
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO profile_features (user_id, event_timestamp, confidence, lifecycle, event_count, "
                "interests, recent_items, space, long_term) SELECT 'user-' || n, "
                "timestamptz '2026-11-01T00:00Z' + t * interval '1 day', 0, 'new', 1, '[]', '[]', 's', "
                "CASE WHEN t = :times THEN convert_to('vector-' || n, 'UTF8') ELSE 'old' END "
                "FROM generate_series(1, :users) AS n, generate_series(1, :times) AS t"
            ),
            {"users": USERS, "times": TIMES},
        )


def keep_states(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO user_states (user_id, totals, items, item_ids, log, packed, snapshot, "
                "reference_version, as_of) SELECT 'user-' || n, '', '', '', '', '', pg_current_snapshot(), 0, now() "
                "FROM generate_series(1, :users + 5) AS n"  # five whom no recompute has met yet
            ),
            {"users": USERS},
        )


def drawn(engine: Engine, users: int) -> dict[str, str]:
    with transaction(engine) as connection:
        rows = stored_long_term(connection, users).to_pylist()
    return {row["user_id"]: row["long_term"].decode() for row in rows}


def test_the_pool_is_the_same_sample_of_newest_profiles_with_states_and_without(engine: Engine):
    made_often(engine)
    without = drawn(engine, 10)
    keep_states(engine)
    assert drawn(engine, 10) == without and len(without) == 10
    assert drawn(engine, 100) == {f"user-{n}": f"vector-{n}" for n in range(1, USERS + 1)}


def test_a_pool_reads_one_profile_of_each_of_its_users(engine: Engine):
    made_often(engine)
    keep_states(engine)
    with transaction(engine) as connection:
        connection.execute(text("ANALYZE profile_features, user_states"))
        (plan,) = raw(connection).execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {POOL}", (10,)).fetchone()
    profiles = [node for node in nodes(plan[0]["Plan"]) if node.get("Relation Name") == "profile_features"]
    assert sum(round(node["Actual Rows"] * node["Actual Loops"]) for node in profiles) == 10


def nodes(plan: dict) -> Iterator[dict]:
    """A plan's node and all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)
