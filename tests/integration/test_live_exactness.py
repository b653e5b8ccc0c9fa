"""Whatever the order, batching, duplication, transactions and crashes: live portraits are those of a full recompute."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from tail_shop import NOW, Recorder, empty_shop, insert, kept, recomputed, settle, tailing

from services.core.addresses import Addresses
from services.db.events import delete_event
from services.db.session import make_engine, transaction
from services.db.user_states import current_snapshot, read_visible
from services.features.portrait import Portrait, unpack_vector
from services.profiles.config import ProfileConfig
from services.profiles.drift import Drift
from services.profiles.fold import fold
from services.profiles.live_update import EVENTS
from services.profiles.reading import whole_catalogue
from services.profiles.recompute import recompute_profiles
from services.profiles.reference_store import load_reference
from services.profiles.state_codec import decode
from services.profiles.tail import Tail, TailLimits

USERS = ("ada", "bea", "cleo")
ITEMS = ("lips-1", "lips-2", "nails-1", "serum-1", "unknown", None)
KINDS = ("view", "click", "cart", "purchase", "rating", "hide", "search")
CONFIG = ProfileConfig()


class Killed(BaseException):
    """The process is gone, as far as the tail can tell."""


EVENT = st.tuples(
    st.integers(0, 30),
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from(KINDS),
    st.integers(-40, 8),
    st.integers(1, 5),
)
"""Number, user, item, kind, hours after the operation began (rarely early enough to be late), value."""

EVENT_LISTS = st.lists(EVENT, min_size=1, max_size=5)
COMMIT = st.tuples(st.just("commit"), EVENT_LISTS)
STEP = st.tuples(st.just("step"), st.just(None))
OPERATION = st.one_of(
    COMMIT,
    COMMIT,
    STEP,
    STEP,
    st.tuples(st.just("begin"), EVENT_LISTS),
    st.tuples(st.just("end"), st.sampled_from((True, True, False))),
    st.tuples(st.just("recompute"), st.sampled_from(USERS)),
    st.tuples(st.just("read out"), st.sampled_from(USERS)),
    st.tuples(st.just("kill"), st.booleans()),
    st.tuples(st.just("take over"), st.just(None)),
    st.tuples(st.just("delete"), st.integers(0, 30)),
    st.tuples(st.just("store"), st.booleans()),
)


@dataclass
class World:
    """A tail over a real database, and the transactions that are open beside it."""

    engine: Engine
    url: str
    stack: ExitStack
    online: Recorder = field(default_factory=Recorder)
    now: datetime = NOW - timedelta(days=40)
    tails: int = 0
    begun: int = 0
    open: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tail = self.new_tail()

    def new_tail(self) -> Tail:
        """Another process takes over: the leases of the one before have expired."""
        with transaction(self.engine) as connection:
            connection.execute(text("UPDATE tail_partitions SET expires_at = now() - interval '1 s'"))
            connection.execute(text("UPDATE tail_owners SET expires_at = now() - interval '1 s'"))
        self.tails += 1
        limits = TailLimits(events=5, rebuild_users=2)
        return self.stack.enter_context(tailing(self.url, f"tail-{self.tails}", self.online, limits=limits))

    def apply(self, name: str, value: object) -> None:
        self.now += timedelta(hours=24)
        getattr(self, "_" + name.replace(" ", "_"))(value)

    def _commit(self, events: list) -> None:
        with transaction(self.engine) as connection:
            insert(connection, *rows("shared", self.now, events))

    def _begin(self, events: list) -> None:
        """A transaction that stays open; its ids are its own, so that nobody waits for it."""
        connection = self.engine.connect()
        self.begun += 1
        insert(connection, *rows(f"own{self.begun}", self.now, events))
        self.open.append(connection)

    def _end(self, commit: bool) -> None:
        if self.open:
            connection = self.open.pop(0)
            connection.commit() if commit else connection.rollback()
            connection.close()

    def _step(self, _: None) -> None:
        self.tail.step()

    def _kill(self, after_writing: bool) -> None:
        """The process dies in the middle of a step, before or after it has written online."""
        real = self.online.write_packed

        def dying(packed: list) -> None:
            if after_writing:
                real(packed)
            raise Killed

        self.online.write_packed = dying
        try:
            self.tail.step()
        except Killed:
            pass
        finally:
            self.online.write_packed = real
        self.tail = self.new_tail()

    def _recompute(self, user: str) -> None:
        """The profiles job stores a state that may hold events which the tail has not seen yet."""
        recompute_profiles(self.engine, None, user_ids=[user], as_of=datetime.now(UTC), keep_states=True)

    def _read_out(self, user: str) -> None:
        """The profiles job reads the portrait out of the kept state."""
        recompute_profiles(
            self.engine, None, user_ids=[user], as_of=datetime.now(UTC), keep_states=True, from_states=True
        )

    def _take_over(self, _: None) -> None:
        self.tail = self.new_tail()

    def _delete(self, number: int) -> None:
        with transaction(self.engine) as connection:
            delete_event(connection, f"shared-{number}")

    def _store(self, down: bool) -> None:
        self.online.down = down
        self.tail.maker.store_down = down

    def finish(self) -> None:
        """Every transaction ends, the store answers, and the tail has nothing left to do."""
        while self.open:
            self._end(True)
        self._store(False)
        settle(self.tail)


def rows(prefix: str, now: datetime, events: list) -> list[tuple]:
    return [
        (
            f"{prefix}-{number}",
            user,
            item,
            kind,
            now + timedelta(hours=hours),
            {"rating": float(value)} if kind == "rating" else {"dwell_ms": 2_000 * value} if kind == "view" else {},
        )
        for number, user, item, kind, hours, value in events
    ]


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=40)
    yield made
    made.dispose()


LATE_COMMIT = [
    ("begin", [(1, "ada", "lips-1", "purchase", 0, 1)]),
    ("commit", [(2, "bea", "nails-1", "click", 0, 1)]),
    ("step", None),
    ("end", True),
    ("commit", [(3, "ada", "lips-2", "click", 0, 1)]),
]


OVERTAKEN = [
    ("commit", [(1, "ada", "lips-1", "view", 0, 1)]),
    ("step", None),
    ("commit", [(2, "ada", "lips-2", "view", 0, 1)]),
    ("recompute", "ada"),
]
"""The recompute dies once it has stored the state: nobody but the tail can write the portrait online."""


@example(LATE_COMMIT)
@example(OVERTAKEN)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(OPERATION, min_size=4, max_size=25))
def test_live_portraits_equal_a_full_recompute(engine: Engine, database: Addresses, operations: list[tuple]):
    empty_shop(engine)
    with ExitStack() as stack:
        world = World(engine, database.sqlalchemy_url, stack)
        try:
            for name, value in operations:
                world.apply(name, value)
            world.finish()
        finally:
            for connection in world.open:
                connection.close()
    assert_states_are_exact(engine)
    expected = recomputed(engine, {user: p.as_of for user, p in world.online.portraits.items()})
    assert world.online.portraits.keys() == expected.keys()
    for user, portrait in world.online.portraits.items():
        assert_alike(portrait, expected[user])


def assert_states_are_exact(engine: Engine) -> None:
    """Every user with events has a state, within 1e-5 of that folded from all events at once."""
    with transaction(engine) as connection:
        reference = load_reference(connection)
        events = read_visible(connection, USERS, current_snapshot(connection), EVENTS)
        catalogue = whole_catalogue(connection, reference)
        queued = connection.execute(text("SELECT count(*) FROM pending_users")).scalar_one()
    fresh = fold(None, events, catalogue, reference, CONFIG)
    stored = kept(engine, *USERS)
    assert queued == 0
    assert stored.column("user_id").to_pylist() == fresh.user_ids.to_pylist()
    drift = Drift()
    if stored.num_rows:
        assert drift.add(decode(stored), fresh, CONFIG) == []
    assert drift.compared == fresh.users
    assert drift.largest <= 1e-5


def assert_alike(live: Portrait, fresh: Portrait) -> None:
    """The same but for the last digits of sums."""
    exact = ("event_count", "newest_event", "lifecycle", "space", "bought", "hidden")
    assert [getattr(live, name) for name in exact] == [getattr(fresh, name) for name in exact]
    np.testing.assert_allclose(live.behaviour_values(), fresh.behaviour_values(), rtol=1e-5)
    assert live.confidence == pytest.approx(fresh.confidence, abs=1e-3)
    for name in ("long_term", "short_term"):
        ours, theirs = unpack_vector(getattr(live, name)), unpack_vector(getattr(fresh, name))
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, atol=2e-3)
    for name in ("categories", "brands"):
        assert dict(getattr(live, name)) == pytest.approx(dict(getattr(fresh, name)), abs=1e-3)
    weights = [{item.item_id: item.weight for item in p.recent_items} for p in (live, fresh)]
    assert weights[0] == pytest.approx(weights[1], abs=1e-5)
