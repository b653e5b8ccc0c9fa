"""A small shop for tests of the tail: items, events at given times, an online store that remembers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Engine, text

from services.core.errors import DependencyDown
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.leases import share_out
from services.db.reference import write_reference
from services.db.session import make_engine, planner_for_the_tail, transaction
from services.db.user_states import current_snapshot, load_states, read_visible
from services.features.portrait import Portrait, unpack
from services.profiles.config import ProfileConfig
from services.profiles.fold import fold
from services.profiles.live_catalogue import LiveCatalogue
from services.profiles.live_update import EVENTS
from services.profiles.read_out import read_out
from services.profiles.reading import whole_catalogue
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference
from services.profiles.tail import Tail

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
VECTORS = {"lips-1": (1, 0, 0), "lips-2": (0.9, 0.1, 0), "nails-1": (0, 1, 0), "serum-1": (0, 0, 1)}
TABLES = (
    "user_states, pending_users, quarantined_users, tail_owners, catalogue_changes, events, event_keys, items, "
    "item_vectors, users, reference_statistics"
)


class Recorder:
    """An online store that remembers the latest that it was told of each user; `down` makes it fail."""

    def __init__(self) -> None:
        self.portraits: dict[str, Portrait] = {}
        self.writes = 0
        self.down = False

    def write_packed(self, rows: Sequence[tuple[str, datetime, bytes]]) -> None:
        if self.down:
            raise DependencyDown("The online store does not answer")
        self.writes += 1
        self.write_portraits([unpack(packed) for _, _, packed in rows])

    def write_portraits(self, portraits: Sequence[Portrait]) -> None:
        known = self.portraits
        later = [one for one in portraits if one.user_id not in known or known[one.user_id].as_of <= one.as_of]
        self.portraits |= {one.user_id: one for one in later}

    def delete_portraits(self, user_ids: Sequence[str]) -> None:
        if self.down:
            raise DependencyDown("The online store does not answer")
        for user in user_ids:
            self.portraits.pop(user, None)


def empty_shop(engine: Engine) -> None:
    """Items with vectors and nothing else; nobody tails."""
    with transaction(engine) as connection:
        connection.execute(text(f"TRUNCATE {TABLES}"))
        connection.execute(
            text(
                "UPDATE tail_partitions SET owner = NULL, expires_at = NULL, fence = 0, snapshot = '1:1:', "
                "catalogue = '1:1:', mark = NULL, store_run_id = NULL"
            )
        )
        categories = [["Beauty", name.split("-")[0].title()] for name in VECTORS]
        rows = {
            "item_id": list(VECTORS),
            "title": [f"The {name}" for name in VECTORS],
            "brand": ["Rouge", "Rouge", "Dew", "Dew"],
            "categories": categories,
            "price": [10.0, 12.0, 8.0, None],
        }
        upsert_items(connection, pa.table(rows))
        matrix = np.array(list(VECTORS.values()), np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        write_vectors(connection, "space-1", list(VECTORS), matrix, [["text"]] * len(VECTORS), NOW)


def insert(connection: Connection, *rows: tuple) -> None:
    """Events (event id, user, item, type, time, properties?) in the connection's transaction."""
    names = ("event_id", "user_id", "item_id", "type")
    table: dict[str, object] = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    table["timestamp"] = pa.array([row[4] for row in rows], pa.timestamp("us", tz="UTC"))
    kinds = {"rating": pa.float32(), "price": pa.float64(), "dwell_ms": pa.int64(), "position": pa.int32()}
    for name, kind in kinds.items():
        table[name] = pa.array([(row[5] if len(row) > 5 else {}).get(name) for row in rows], kind)
    insert_events(connection, pa.table(table))


def add(engine: Engine, *rows: tuple) -> None:
    """As `insert`, committed."""
    with transaction(engine) as connection:
        insert(connection, *rows)


@contextmanager
def tailing(url: str, owner: str = "tail-1", writer: Recorder | None = None, **options: object) -> Iterator[Tail]:
    """A tail that owns every partition."""
    engine = planner_for_the_tail(make_engine(url, pool_size=3))
    options.setdefault("catalogue", LiveCatalogue(engine, rest=0))
    tail = Tail(engine, Recorder() if writer is None else writer, owner, **options)
    own(tail)
    try:
        yield tail
    finally:
        tail.catalogue.wait()
        engine.dispose()


def own(tail: Tail, seconds: float = 30.0) -> None:
    with transaction(tail.engine) as connection:
        tail.own(share_out(connection, tail.owner, seconds))


def settle(tail: Tail) -> int:
    """Step until there is nothing to do; how many steps did something."""
    steps = 0
    while True:
        worked = tail.step()
        reading = tail.catalogue
        reading.wait()
        if not worked and not tail.step():
            return steps
        steps += 1
        assert steps < 10_000


def recomputed(engine: Engine, as_of: dict[str, float]) -> dict[str, Portrait]:
    """The portraits of all users from all committed events, each as of the time given."""
    found = {}
    with transaction(engine) as connection:
        snapshot, reference = current_snapshot(connection), load_reference(connection)
        catalogue = whole_catalogue(connection, reference)
        for user, at in as_of.items():
            events = read_visible(connection, [user], snapshot, EVENTS)
            if events.num_rows:
                config = ProfileConfig()
                states = fold(None, events, catalogue, reference, config)
                found[user] = read_out(states, None, catalogue, reference, at, config).portraits[0]
    return found


def kept(engine: Engine, *users: str) -> pa.Table:
    """The stored states of some users."""
    with transaction(engine) as connection:
        return load_states(connection, users, lock=False)


def same_as_recomputed(engine: Engine, online: Recorder) -> bool:
    """Whether all portraits are what a recompute as of their times gives."""
    as_of = {user: portrait.as_of for user, portrait in online.portraits.items()}
    return online.portraits == recomputed(engine, as_of)


def with_reference(engine: Engine, **importance: float) -> None:
    """Another version of the reference statistics."""
    changed = {**ReferenceStatistics.defaults().to_json()}
    changed["importance"] = {**changed["importance"], **importance}
    with transaction(engine) as connection:
        write_reference(connection, changed)
