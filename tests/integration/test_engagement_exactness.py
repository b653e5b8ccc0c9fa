"""Item engagement from new events alone equals a full recompute: any order, batching, duplication, deletion, crash."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from feature_repo import names
from services.core.addresses import Addresses
from services.db.engagement import latest_engagement
from services.db.events import delete_event, delete_users_events, insert_events, read_events
from services.db.item_states import load_item_states
from services.db.reference import write_reference
from services.db.session import make_engine, transaction
from services.profiles.engagement import EngagementSums, compute_engagement
from services.profiles.engagement_drift import difference, engagement_drift
from services.profiles.engagement_publish import SLACK
from services.profiles.engagement_tail import EngagementTail
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
INPUT = ("user_id", "item_id", "type", "timestamp", "position", "rating", "sentiment")
TABLES = "events, event_keys, item_states, item_engagement, pending_items, reference_statistics"

moments = st.one_of(
    st.sampled_from([0, 86_400, 7 * 86_400, 30 * 86_400]).map(float),  # on the edges of the windows
    st.floats(-240, 3 * 86_400),
    st.floats(0, 40 * 86_400),
)
event = st.tuples(
    st.integers(0, 60),
    st.sampled_from("uvw"),
    st.sampled_from(["a", "b", "c", None]),
    st.sampled_from(["view", "click", "cart", "purchase", "impression", "hide", "rating", "favourite"]),
    moments,
)
insert = st.tuples(st.just("insert"), st.lists(event, min_size=1, max_size=12))
tick = st.tuples(st.just("tick"), st.sampled_from([-3_600.0, 0.0, 2.0, 90.0, 3_600.0, 86_400.0, 8 * 86_400.0]))
action = st.one_of(
    insert,
    insert,
    insert,
    tick,
    tick,
    tick,
    st.tuples(st.just("begin"), st.lists(event, min_size=1, max_size=3)),
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("delete"), st.integers(0, 40)),
    st.tuples(st.just("erase"), st.sampled_from("uvw")),
    st.tuples(st.just("score"), st.floats(-1, 1, width=32)),
    st.tuples(st.just("weights"), st.floats(0.1, 0.9)),
    st.tuples(st.just("crash"), st.just(2.0)),
    st.tuples(st.just("other"), st.just(2.0)),
)


class Killed(BaseException):
    """A process that ends in the middle of a tick."""


class Dying:
    """An online store in front of which the process dies."""

    def write_view(self, view_name: str, table: pa.Table) -> int:
        raise Killed


class Shop:
    """Performs actions on a database, and ticks."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.now = engine, START
        self.tail = EngagementTail(engine, None)
        self.open: Connection | None = None
        self.crashes = 0
        with transaction(engine) as connection:
            connection.execute(text(f"TRUNCATE {TABLES}"))
            connection.execute(
                text("UPDATE item_tail SET snapshot = '1:1:', as_of = NULL, basis = NULL, ticks = ticks + 1")
            )

    def table(self, rows: list) -> pa.Table:
        return pa.table(
            {
                "event_id": [f"e{row[0]}" for row in rows],
                "user_id": [row[1] for row in rows],
                "item_id": pa.array([row[2] for row in rows], pa.string()),
                "type": [row[3] for row in rows],
                "timestamp": pa.array(
                    [self.now - timedelta(seconds=row[4]) for row in rows], pa.timestamp("us", "UTC")
                ),
                "position": pa.array([row[0] % 7 for row in rows], pa.int32()),
                "rating": pa.array([row[0] % 5 + 1.0 if row[3] == "rating" else None for row in rows], pa.float32()),
            }
        )

    def do(self, what: str, value) -> None:
        if what == "insert" and self.open is None:  # the same ids in an open transaction would wait for it
            with transaction(self.engine) as connection:
                insert_events(connection, self.table(value))
        elif what == "begin" and self.open is None:
            self.open = self.engine.connect()
            insert_events(self.open, self.table([(row[0] + 100, *row[1:]) for row in value]))
        elif what == "commit" and self.open is not None:
            self.open.commit()
            self.open.close()
            self.open = None
        elif what in ("delete", "erase") and self.open is None:
            with transaction(self.engine) as connection:
                if what == "delete":
                    delete_event(connection, f"e{value}")
                else:
                    delete_users_events(connection, [value])
        elif what == "score" and self.open is None:
            with transaction(self.engine) as connection:
                connection.execute(text("UPDATE events SET sentiment = :s WHERE type = 'rating'"), {"s": value})
        elif what == "weights":
            importance = {**ReferenceStatistics.defaults().importance, "view": value}
            with transaction(self.engine) as connection:
                write_reference(connection, replace(ReferenceStatistics.defaults(), importance=importance).to_json())
        elif what == "crash":
            with suppress(Killed):  # where the history leads to what was published before, nothing is written
                self.tick(EngagementTail(self.engine, Dying()), value, always_publish=True)
        elif what == "tick":
            self.tick(self.tail, value)
        elif what == "other":
            self.tick(EngagementTail(self.engine, None), value)

    def tick(self, tail: EngagementTail, seconds: float, *, always_publish: bool = False) -> None:
        self.now += timedelta(seconds=seconds)
        if always_publish:
            with transaction(self.engine) as connection:
                self.crashes += 1
                insert_events(connection, self.table([(1_000 + self.crashes, "u", "a", "view", 0.0)]))
        assert not tail.tick(self.now).busy

    def close(self) -> None:
        """End the open transaction of an example that failed, so that the next does not wait for it."""
        if self.open is not None:
            self.open.close()

    def as_of(self) -> datetime:
        with transaction(self.engine) as connection:
            return connection.execute(text("SELECT as_of FROM item_tail")).scalar_one()


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    with transaction(engine) as connection:
        for month in ("2026-01-15", "2026-02-15", "2026-03-15", "2026-04-15", "2026-05-15"):
            connection.execute(text(f"SELECT ensure_event_partition('{month}')"))
    yield engine
    engine.dispose()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(action, min_size=6, max_size=20))
def test_any_history_of_a_shop_gives_the_states_of_a_full_recompute(engine: Engine, actions: list) -> None:
    shop = Shop(engine)
    try:
        for what, value in [*actions, ("commit", None), ("tick", 2.0)]:
            shop.do(what, value)
    finally:
        shop.close()
    as_of = shop.as_of()
    with transaction(engine) as connection:
        events = read_events(connection, columns=INPUT)
        stored, published = load_item_states(connection), latest_engagement(connection)
        reference = load_reference(connection)
    sums = EngagementSums(as_of, reference)
    sums.add(events)
    expected = sums.merge()
    assert sorted(stored["item_id"]) == expected["item_id"].to_list()
    apart = difference(stored, expected, pl.Series([], dtype=pl.String))
    assert apart.drifted == 0 and apart.largest < 1e-9, apart
    assert engagement_drift(engine).drifted == 0
    newest = [datetime.fromtimestamp(0, UTC), *expected["newest"]]
    computed = compute_engagement([events], as_of, reference, newest=max(newest))
    assert_published(published, computed)


def assert_published(published: pa.Table, computed: pa.Table) -> None:
    """Each item's latest row is what was computed; the shop's movement may be behind by the slack."""
    shown = {row["item_id"]: row for row in published.to_pylist()}
    for row in computed.to_pylist():
        for name in names.ENGAGEMENT_FEATURES:
            absolute, relative = SLACK.get(name, (0.0, 0.0))
            was, now = shown[row["item_id"]][name], row[name]
            assert (was is None) == (now is None), (row["item_id"], name)
            if now is not None:
                assert was == pytest.approx(now, abs=absolute + relative * np.abs(was) + 1e-6), (row["item_id"], name)
