"""Recomputing portraits from real events in PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.db.embeddings import write_vectors
from services.db.events import delete_event, delete_users_events, insert_events
from services.db.items import upsert_items
from services.db.profiles import PROFILE_TABLES, newest_packed, users_touched_since
from services.db.session import make_engine, transaction
from services.db.users import upsert_user
from services.features.portrait import Portrait, unpack, unpack_vector
from services.profiles.config import ProfileConfig
from services.profiles.read_out import PackedRow
from services.profiles.recompute import recompute_profiles

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ITEMS = ["lips-1", "lips-2", "nails-1", "serum-1", "serum-2"]
VECTORS = {
    "lips-1": (1, 0, 0),
    "lips-2": (0.9, 0.1, 0),
    "nails-1": (0, 1, 0),
    "serum-1": (0, 0, 1),
    "serum-2": (0, 0.1, 1),
}


class Recorder:
    """An online store that remembers what it was told."""

    def __init__(self) -> None:
        self.portraits: dict[str, Portrait] = {}
        self.deleted: list[str] = []

    def write_packed(self, rows: list[PackedRow]) -> None:
        self.portraits.update({user: unpack(packed) for user, _, packed in rows})

    def delete_portraits(self, user_ids: list[str]) -> None:
        self.deleted += user_ids
        for user_id in user_ids:
            self.portraits.pop(user_id, None)


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    """The module's database, emptied, with a small catalogue."""
    made = make_engine(database.sqlalchemy_url, pool_size=2)
    with transaction(made) as connection:
        tables = ", ".join(
            (*PROFILE_TABLES, "events", "event_keys", "items", "item_vectors", "users", "reference_statistics")
        )
        connection.execute(text(f"TRUNCATE {tables}"))
        rows = {
            "item_id": ITEMS,
            "title": [f"The {name}" for name in ITEMS],
            "brand": ["Rouge", "Rouge", "Dew", "Dew", None],
            "categories": [
                ["Beauty", "Lips"],
                ["Beauty", "Lips"],
                ["Beauty", "Nails"],
                ["Beauty", "Serums"],
                ["Beauty", "Serums"],
            ],
            "price": [10.0, 12.0, 8.0, 30.0, None],
        }
        upsert_items(connection, pa.table(rows))
        put_vectors(connection, VECTORS)
    yield made
    made.dispose()


def put_vectors(connection, vectors: dict[str, tuple[float, ...]], space: str = "space-1", at: datetime = NOW) -> None:
    matrix = np.array(list(vectors.values()), np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    write_vectors(connection, space, list(vectors), matrix, [["text"]] * len(vectors), at)


def add(engine: Engine, *rows: tuple) -> None:
    """Store events: (event id, user, item, type, age, properties?)."""
    names = ("event_id", "user_id", "item_id", "type", "timestamp")
    table = {name: [row[k] for row in rows] for k, name in enumerate(names[:4])}
    table["timestamp"] = pa.array([NOW - row[4] for row in rows], pa.timestamp("us", tz="UTC"))
    for name, kind in (("rating", pa.float32()), ("query", pa.string()), ("position", pa.int32())):
        table[name] = pa.array([(row[5] if len(row) > 5 else {}).get(name) for row in rows], kind)
    with transaction(engine) as connection:
        insert_events(connection, pa.table(table))


SHOPPERS = (
    ("e1", "ada", "lips-1", "purchase", 3 * DAY),
    ("e2", "ada", "lips-2", "view", 2 * DAY),
    ("e3", "ada", "nails-1", "hide", DAY),
    ("e4", "bea", "lips-1", "purchase", 5 * DAY),
    ("e5", "bea", "serum-1", "cart", DAY),
    ("e6", "cleo", "serum-1", "purchase", 4 * DAY),
    ("e7", "cleo", "serum-2", "rating", DAY, {"rating": 5.0}),
    ("e8", "cleo", None, "search", DAY, {"query": "serum"}),
    ("e9", "dora", "lips-1", "impression", DAY, {"position": 1}),
)


def stored(engine: Engine, user: str) -> Portrait | None:
    with transaction(engine) as connection:
        packed = newest_packed(connection, user)
    return None if packed is None else unpack(packed)


def rows_of(engine: Engine, user: str) -> list[int]:
    with transaction(engine) as connection:
        return [
            connection.execute(text(f"SELECT count(*) FROM {table} WHERE user_id = :user"), {"user": user}).scalar_one()
            for table in PROFILE_TABLES
        ]


def test_every_user_with_events_gets_a_portrait_in_all_tables_and_online(engine: Engine):
    add(engine, *SHOPPERS)
    online = Recorder()
    shares: list[float] = []
    report = recompute_profiles(engine, online, as_of=NOW, progress=shares.append)
    assert (report.users, report.events, report.erased) == (3, 8, 0)
    assert shares[-1] == 1.0
    assert sorted(online.portraits) == ["ada", "bea", "cleo"]
    assert rows_of(engine, "ada") == [1, 1, 1, 1]
    assert rows_of(engine, "dora") == [0, 0, 0, 0]  # was merely shown something
    assert all(stored(engine, user) == portrait for user, portrait in online.portraits.items())


def test_a_portrait_holds_what_the_user_did(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    ada = stored(engine, "ada")
    assert (ada.event_count, ada.newest_event, ada.as_of) == (3, (NOW - DAY).timestamp(), NOW.timestamp())
    assert (ada.bought, ada.hidden, ada.lifecycle, ada.space) == (("lips-1",), ("nails-1",), "active", "space-1")
    assert [(i.item_id, i.type) for i in ada.recent_items] == [
        ("nails-1", "hide"),
        ("lips-2", "view"),
        ("lips-1", "purchase"),
    ]
    assert ada.recent_items[0].weight < 0 < ada.recent_items[2].weight
    assert [interest.name for interest in ada.interests] == ["Lips · Rouge"]
    assert [name for name, _ in ada.categories] == ["Lips"]
    assert ada.brands[0][0] == "Rouge"
    assert ada.price.low < ada.price.typical < ada.price.high
    long_term = unpack_vector(ada.long_term)
    assert long_term[0] > 0.7 and long_term[1] < 0  # towards lips, away from the hidden nails
    behaviour = ada.readable(NOW.timestamp())["behaviour"]
    assert (behaviour["purchases_7d"], behaviour["purchases_1d"], behaviour["rating_mean"]) == (1.0, 0.0, None)


def test_the_tables_hold_the_same_as_the_packed_portrait(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    cleo = stored(engine, "cleo")
    with transaction(engine) as connection:
        profile = connection.execute(text("SELECT * FROM profile_features WHERE user_id = 'cleo'")).mappings().one()
        affinity = connection.execute(text("SELECT * FROM affinity_features WHERE user_id = 'cleo'")).mappings().one()
        counted = connection.execute(text("SELECT * FROM behaviour_features WHERE user_id = 'cleo'")).mappings().one()
    assert profile["event_timestamp"] == NOW
    assert (bytes(profile["long_term"]), bytes(profile["short_term"])) == (cleo.long_term, cleo.short_term)
    assert profile["newest_event"] == NOW - DAY
    assert [entry["item_id"] for entry in profile["recent_items"]] == [i.item_id for i in cleo.recent_items]
    assert profile["interests"][0]["name"] == cleo.interests[0].name
    assert affinity["categories"] == [list(pair) for pair in cleo.categories]
    assert affinity["price_typical"] == pytest.approx(30.0)
    assert (counted["searches_7d"], counted["purchases_30d"], counted["rating_mean"], counted["depth_mean"]) == (
        1,
        1,
        5,
        None,
    )


def test_similar_users_and_what_they_like_are_found(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    bea, cleo = stored(engine, "bea"), stored(engine, "cleo")
    assert {user for user, _ in bea.neighbours} == {"ada", "cleo"}
    assert cleo.neighbours[0][0] == "bea"
    assert "lips-1" in dict(cleo.neighbour_items)
    assert not {"serum-1", "serum-2"} & set(dict(cleo.neighbour_items))


def test_recomputing_one_user_gives_the_same_portrait_as_all(engine: Engine):
    twins = [(f"t{n}", f"twin-{n}", "lips-1", "purchase", DAY) for n in range(5)]  # equally near to everyone
    add(engine, *SHOPPERS, *twins)
    recompute_profiles(engine, None, as_of=NOW)
    together = {user: stored(engine, user) for user in ("ada", "bea", "cleo", "twin-3")}
    for user, portrait in together.items():
        report = recompute_profiles(engine, None, as_of=NOW, user_ids=[user])
        assert report.users == 1
        assert stored(engine, user) == portrait


def test_small_chunks_give_the_same_portraits_as_one(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    together = {user: stored(engine, user) for user in ("ada", "bea", "cleo")}
    recompute_profiles(engine, None, as_of=NOW, config=ProfileConfig(users_per_chunk=1))
    assert {user: stored(engine, user) for user in together} == together


def test_running_again_changes_nothing(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    first = stored(engine, "ada")
    recompute_profiles(engine, None, as_of=NOW)
    assert stored(engine, "ada") == first
    assert rows_of(engine, "ada") == [1, 1, 1, 1]


def test_events_after_the_time_are_left_out(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW - 4 * DAY)
    assert stored(engine, "ada") is None
    assert stored(engine, "bea").event_count == 1


def test_a_user_who_refuses_loses_the_portrait_everywhere_and_is_nobodys_neighbour(engine: Engine):
    add(engine, *SHOPPERS)
    online = Recorder()
    recompute_profiles(engine, online, as_of=NOW)
    with transaction(engine) as connection:
        upsert_user(connection, "ada", consent={"personalisation": False})
    report = recompute_profiles(engine, online, as_of=NOW + DAY)
    assert (report.users, report.erased) == (2, 1)
    assert rows_of(engine, "ada") == [0, 0, 0, 0]
    assert (online.deleted, sorted(online.portraits)) == (["ada"], ["bea", "cleo"])
    assert all("ada" not in dict(p.neighbours) for p in online.portraits.values())
    single = recompute_profiles(engine, online, as_of=NOW + DAY, user_ids=["ada"])
    assert single.users == 0 and stored(engine, "ada") is None


@pytest.mark.parametrize("wanted", [None, ["bea"]])
def test_a_user_without_events_any_more_loses_the_portrait(engine: Engine, wanted: list[str] | None):
    add(engine, *SHOPPERS)
    online = Recorder()
    recompute_profiles(engine, online, as_of=NOW)
    with transaction(engine) as connection:
        delete_users_events(connection, ["bea"])
    report = recompute_profiles(engine, online, as_of=NOW + DAY, user_ids=wanted)
    assert report.erased == 1
    assert rows_of(engine, "bea") == [0, 0, 0, 0]
    assert "bea" not in online.portraits


def test_deleting_an_event_takes_it_out_of_the_portrait(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    with transaction(engine) as connection:
        touched = delete_event(connection, "e3")
    recompute_profiles(engine, None, as_of=NOW, user_ids=[touched])
    assert stored(engine, "ada").hidden == ()
    assert unpack_vector(stored(engine, "ada").long_term)[1] >= 0


def test_items_that_arrive_after_their_events_enter_the_portrait(engine: Engine):
    add(engine, ("n1", "nia", "new-1", "purchase", DAY))
    recompute_profiles(engine, None, as_of=NOW)
    before = stored(engine, "nia")
    assert (before.long_term, before.bought) == (None, ("new-1",))
    with transaction(engine) as connection:
        upsert_items(connection, pa.table({"item_id": ["new-1"], "title": ["New"], "brand": ["Rouge"]}))
        put_vectors(connection, {"new-1": (0, 1, 0)})
    recompute_profiles(engine, None, as_of=NOW + DAY, user_ids=["nia"])
    assert unpack_vector(stored(engine, "nia").long_term).tolist() == [0.0, 1.0, 0.0]


def test_since_covers_new_events_changed_consent_and_new_vectors(engine: Engine):
    add(engine, *SHOPPERS)
    with transaction(engine) as connection:
        long_ago = connection.execute(text("UPDATE events SET received_at = now() - interval '9 days' RETURNING 1"))
        assert len(long_ago.all()) == 9
        since = connection.execute(text("SELECT now() - interval '1 day'")).scalar_one()
        connection.execute(text("UPDATE item_vectors SET event_timestamp = now() - interval '9 days'"))
        assert users_touched_since(connection, since) == []
        upsert_user(connection, "bea", attributes={"city": "Oslo"})
        put_vectors(connection, {"serum-2": (0.5, 0, 1)}, at=datetime.now(UTC))
    add(engine, ("late", "ada", "lips-1", "view", 100 * DAY))
    with transaction(engine) as connection:
        assert sorted(users_touched_since(connection, since)) == ["ada", "bea", "cleo"]
    report = recompute_profiles(engine, None, as_of=NOW, since=since)
    assert report.users == 3


def test_old_rows_are_pruned_but_never_the_newest(engine: Engine):
    add(engine, *SHOPPERS)
    recompute_profiles(engine, None, as_of=NOW)
    recompute_profiles(engine, None, as_of=NOW + DAY, user_ids=["ada"])
    report = recompute_profiles(engine, None, as_of=NOW + 31 * DAY, user_ids=["cleo"])
    # ada's and cleo's first rows of four tables are a month old and have newer ones; bea's only rows stay
    assert report.pruned == 8
    assert rows_of(engine, "ada") == rows_of(engine, "bea") == rows_of(engine, "cleo") == [1, 1, 1, 1]


def test_nothing_at_all_is_no_failure(engine: Engine):
    assert recompute_profiles(engine, None, as_of=NOW).users == 0
    assert recompute_profiles(engine, None, as_of=NOW, user_ids=["nobody"]).users == 0
    assert recompute_profiles(engine, None, as_of=NOW, user_ids=[]).users == 0


def test_any_unicode_survives(engine: Engine):
    user = 'Zoë "\\ 🛍\t\u2028{}'
    add(engine, ("u1", user, "lips-1", "purchase", DAY))
    recompute_profiles(engine, None, as_of=NOW)
    assert stored(engine, user).user_id == user


def test_a_chunk_is_one_transaction(engine: Engine, database: Addresses):
    """A failing online store leaves the tables whole: every user of the chunk or none."""
    add(engine, *SHOPPERS)

    class Down(Recorder):
        def write_packed(self, rows: list[PackedRow]) -> None:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        recompute_profiles(engine, Down(), as_of=NOW)
    with psycopg.connect(database.database_url) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in PROFILE_TABLES]
    assert counts == [3, 3, 3, 3]
