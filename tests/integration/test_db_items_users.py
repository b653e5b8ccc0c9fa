"""Catalogue and users on a real PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
import pytest
from sqlalchemy import Connection, Engine

from services.core.addresses import Addresses
from services.db.consent import without_consent
from services.db.events import insert_events
from services.db.items import ItemCounts, count_items, delete_item, get_item, read_items, upsert_items
from services.db.session import make_engine, raw
from services.db.users import erase_user, get_user, upsert_user


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
        connection.rollback()


LAMP = {
    "item_id": "lamp",
    "title": "Lamp",
    "description": None,
    "brand": "Lumo",
    "categories": ["Home", 'Light, "warm"'],
    "price": 19.5,
    "currency": "EUR",
    "attributes": '{"colour": "red", "sizes": [1, 2]}',
    "image_urls": ["https://x/1.jpg"],
    "video_urls": [],
    "available": True,
    "published_at": datetime(2026, 1, 1, tzinfo=UTC),
}


def view_of(item_id: str) -> pl.DataFrame:
    """One event of user u."""
    event = {"event_id": "e", "user_id": "u", "item_id": item_id, "type": "view"}
    return pl.DataFrame([{**event, "timestamp": datetime(2026, 1, 1, tzinfo=UTC)}])


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema_overrides={"video_urls": pl.List(pl.String)}, infer_schema_length=None)


def test_an_item_is_stored_as_it_was_given(connection):
    assert upsert_items(connection, frame(LAMP)) == ItemCounts(inserted=1)
    stored = get_item(connection, "lamp")
    assert {name: stored[name] for name in LAMP} == {**LAMP, "attributes": {"colour": "red", "sizes": [1, 2]}}


def test_only_changes_are_written(connection):
    upsert_items(connection, frame(LAMP, {**LAMP, "item_id": "sofa"}))
    raw(connection).execute("UPDATE items SET updated_at = '2020-01-01'")
    changed = {**LAMP, "item_id": "sofa", "price": 5.0}
    counts = upsert_items(connection, frame(LAMP, changed, {**LAMP, "item_id": "new"}))
    assert counts == ItemCounts(inserted=1, updated=1, unchanged=1)
    assert get_item(connection, "lamp")["updated_at"] == datetime(2020, 1, 1, tzinfo=UTC)
    assert get_item(connection, "sofa")["updated_at"] > datetime(2026, 1, 1, tzinfo=UTC)


def test_a_row_replaces_the_whole_item(connection):
    upsert_items(connection, frame(LAMP))
    assert upsert_items(connection, pl.DataFrame({"item_id": ["lamp"], "title": ["Lamp"]})) == ItemCounts(updated=1)
    stored = get_item(connection, "lamp")
    assert (stored["brand"], stored["categories"], stored["attributes"], stored["available"]) == (None, [], {}, True)


def test_of_rows_that_share_an_id_the_last_counts(connection):
    counts = upsert_items(connection, pl.DataFrame({"item_id": ["a", "a"], "title": ["first", "last"]}))
    assert counts == ItemCounts(inserted=1, unchanged=1)
    assert get_item(connection, "a")["title"] == "last"


def test_absent_lists_in_some_rows_are_empty(connection):
    upsert_items(connection, pl.DataFrame({"item_id": ["a", "b"], "title": ["x", "y"], "categories": [["c"], None]}))
    assert [row["categories"] for row in read_items(connection).to_pylist()] == [["c"], []]


def test_items_are_read_by_id_and_by_change(connection):
    upsert_items(connection, pl.DataFrame({"item_id": ["b", "a", "c"], "title": ["x", "y", "z"]}))
    assert read_items(connection)["item_id"].to_pylist() == ["a", "b", "c"]
    assert read_items(connection, ["c", "nope"])["item_id"].to_pylist() == ["c"]
    assert read_items(connection, updated_since=datetime(2100, 1, 1, tzinfo=UTC)).num_rows == 0
    assert count_items(connection) == 3


def test_a_deleted_item_is_gone_and_its_events_stay(connection):
    upsert_items(connection, frame(LAMP))
    insert_events(connection, view_of("lamp"))
    assert delete_item(connection, "lamp")
    assert not delete_item(connection, "lamp")
    assert get_item(connection, "lamp") is None
    assert raw(connection).execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_what_is_not_said_of_a_user_stays(connection):
    assert upsert_user(connection, "u", attributes={"city": "Ulm"})
    assert not upsert_user(connection, "u", consent={"personalisation": False})
    user = get_user(connection, "u")
    assert (user["attributes"], user["consent"]) == ({"city": "Ulm"}, {"personalisation": False})
    assert get_user(connection, "nobody") is None


def test_a_refusal_stands_until_that_very_consent_is_given(connection):
    upsert_user(connection, "u", consent={"personalisation": False})
    upsert_user(connection, "u", consent={"marketing": True})
    assert get_user(connection, "u")["consent"] == {"personalisation": False, "marketing": True}
    assert without_consent(connection) == {"u"}
    upsert_user(connection, "u", consent={"personalisation": True})
    assert get_user(connection, "u")["consent"] == {"personalisation": True, "marketing": True}


def test_users_who_refused_are_known(connection):
    upsert_user(connection, "no", consent={"personalisation": False})
    upsert_user(connection, "yes", consent={"personalisation": True})
    upsert_user(connection, "silent")
    assert without_consent(connection) == {"no"}
    assert without_consent(connection, ["yes", "silent"]) == set()


def test_an_erased_user_leaves_nothing(connection):
    upsert_user(connection, "u")
    insert_events(connection, view_of("lamp"))
    raw(connection).execute(
        "INSERT INTO impressions (request_id, position, item_id, user_id, timestamp, score, model) "
        "VALUES ('r', 0, 'i', 'u', now(), 1, 'm')"
    )
    gone = erase_user(connection, "u")
    assert {name: count for name, count in gone.items() if count} == {"events": 1, "impressions": 1, "users": 1}
    query = "SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id'"
    tables = raw(connection).execute(query + " AND table_schema = 'public'").fetchall()
    for (table,) in tables:
        if table == "pending_users":
            continue  # until the tail has erased what an update under way may have written
        assert raw(connection).execute(f"SELECT count(*) FROM {table} WHERE user_id = 'u'").fetchone() == (0,), table
    assert raw(connection).execute("SELECT count(*) FROM event_keys").fetchone() == (0,)
