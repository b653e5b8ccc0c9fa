"""The feature store on real servers: what is written is read back, at the right time, and can be rebuilt."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
import redis
from feast import FeatureStore
from psycopg.types.json import Jsonb

from feature_repo import names, registry_sync
from services.core.addresses import Addresses
from services.core.errors import DependencyDown, InvalidInput, NotFound, NotReady
from services.features.check import check_views
from services.features.materialize import materialize
from services.features.offline.reader import OfflineReader
from services.features.offline.store import offline_connection
from services.features.online import OnlineReader, OnlineWriter, open_store
from services.features.online.connection import repo_config
from services.features.portrait import Portrait, RecentItem, pack

NOW = datetime.now(UTC).replace(microsecond=0)
MOMENT = pa.timestamp("us", tz="UTC")


@pytest.fixture(scope="module")
def applied(database: Addresses) -> Addresses:
    """A database whose registry holds the definitions."""
    registry_sync.apply(FeatureStore(config=repo_config(database, create_registry=True)))
    return database


@pytest.fixture(scope="module")
def store(applied: Addresses) -> FeatureStore:
    return open_store(applied)


@pytest.fixture
def clean(applied: Addresses) -> Iterator[psycopg.Connection]:
    """Empty feature tables and an empty online store; yields a connection that commits each statement."""
    with redis.Redis.from_url(applied.redis_url) as client:
        client.flushdb()
    with psycopg.connect(applied.database_url, autocommit=True) as connection:
        connection.execute(
            "TRUNCATE behaviour_features, profile_features, affinity_features, serving_features, item_engagement, "
            "item_vectors, items, checkpoints"
        )
        yield connection


@pytest.fixture
def reader(applied: Addresses, store: FeatureStore, clean: psycopg.Connection) -> OnlineReader:
    return OnlineReader(applied, store)


@pytest.fixture
def writer(applied: Addresses, store: FeatureStore) -> OnlineWriter:
    return OnlineWriter(applied, store)


@pytest.fixture
def offline(applied: Addresses, store: FeatureStore) -> OfflineReader:
    return OfflineReader(applied, store)


def portrait(user_id: str, as_of: datetime = NOW, **changes: Any) -> Portrait:
    recent = (RecentItem("Ä-1", "view", 1.0, 0.5),)
    values = {"event_count": 3, "confidence": 0.5, "lifecycle": "active", "recent_items": recent}
    return Portrait(**{"user_id": user_id, "as_of": as_of.timestamp(), "newest_event": None, **values, **changes})


def insert(connection: psycopg.Connection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        columns, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))


def insert_portrait(connection: psycopg.Connection, found: Portrait) -> None:
    moment = datetime.fromtimestamp(found.as_of, UTC)
    insert(
        connection, names.SERVING_TABLE, {"user_id": found.user_id, "event_timestamp": moment, "packed": pack(found)}
    )


def insert_profile(connection: psycopg.Connection, user_id: str, moment: datetime, **values: Any) -> None:
    row = {
        "confidence": 0.5,
        "lifecycle": "active",
        "event_count": 1,
        "interests": Jsonb([]),
        "recent_items": Jsonb([]),
    }
    insert(connection, names.PROFILE_TABLE, {"user_id": user_id, "event_timestamp": moment, **row, **values})


def online_contents(addresses: Addresses) -> dict[bytes, dict[bytes, bytes]]:
    with redis.Redis.from_url(addresses.redis_url) as client:
        return {key: client.hgetall(key) for key in client.scan_iter()}


# reading and writing portraits


def test_a_portrait_is_read_back_and_an_unknown_user_is_cold(reader: OnlineReader, writer: OnlineWriter) -> None:
    known = portrait("zoë 👟")
    writer.write_portraits([known, portrait("b")])
    assert reader.portrait("zoë 👟") == known
    assert reader.portraits(["nobody", "b"]) == [None, portrait("b")]
    assert reader.portraits([]) == []


def test_a_portrait_never_replaces_a_newer_one(reader: OnlineReader, writer: OnlineWriter) -> None:
    writer.write_portraits([portrait("u", NOW, event_count=2)])
    writer.write_portraits([portrait("u", NOW - timedelta(seconds=1), event_count=1)])
    found = reader.portrait("u")
    assert found is not None and found.event_count == 2
    writer.write_portraits([portrait("u", NOW + timedelta(seconds=1), event_count=3)])
    found = reader.portrait("u")
    assert found is not None and found.event_count == 3


def test_an_expired_portrait_is_a_cold_start_and_its_status_says_so(reader: OnlineReader, writer: OnlineWriter) -> None:
    writer.write_portraits([portrait("old", NOW - timedelta(days=401)), portrait("kept", NOW - timedelta(days=399))])
    assert reader.portrait("old") is None
    assert reader.portrait("kept") is not None
    status = reader.feature_status("old")[names.USER_SERVING]
    assert (status.status, status.timestamp) == ("expired", (NOW - timedelta(days=401)).timestamp())
    assert reader.feature_status("kept")[names.USER_SERVING].status == "present"
    behaviour = reader.feature_status("kept")[names.USER_BEHAVIOUR]  # as old as the portrait that says it
    assert (behaviour.status, behaviour.timestamp) == ("expired", (NOW - timedelta(days=399)).timestamp())
    assert reader.feature_status("nobody")[names.USER_BEHAVIOUR].status == "missing"


def test_deleting_a_user_takes_all_of_theirs_and_nobody_elses(reader: OnlineReader, writer: OnlineWriter) -> None:
    writer.write_portraits([portrait("u"), portrait("other")])
    rows = pa.table(
        {"user_id": ["u"], "event_timestamp": pa.array([NOW], MOMENT), "views_1h": pa.array([4.0], "float32")}
    )
    writer.write_view(names.USER_BEHAVIOUR, rows)
    writer.delete_portraits(["u", "unknown"])
    assert reader.portraits(["u", "other"]) == [None, portrait("other")]
    assert reader.values(names.USER_BEHAVIOUR, ["u"]) == [None]
    writer.delete_portraits([])


def test_every_type_of_value_survives(reader: OnlineReader, writer: OnlineWriter) -> None:
    rows = pa.table(
        {
            "item_id": ["i", "j"],
            "event_timestamp": pa.array([NOW, NOW], MOMENT),
            "title": ["Crème", None],
            "categories": pa.array([["Care", "Skin"], []], pa.list_(pa.string())),
            "price": pa.array([2.5, None]),
            "available": [True, False],
            "published_at": pa.array([NOW, None], MOMENT),
        }
    )
    assert writer.write_view(names.ITEM_CATALOGUE, rows) == 2
    first, second = reader.values(names.ITEM_CATALOGUE, ["i", "j"])
    assert first is not None and second is not None
    assert (first["title"], first["categories"], first["price"]) == ("Crème", ["Care", "Skin"], 2.5)
    assert (first["available"], first["published_at"]) == (True, int(NOW.timestamp()))
    assert (second["title"], second["price"], second["available"]) == (None, None, False)


def test_writing_says_what_is_wrong_with_the_rows(writer: OnlineWriter) -> None:
    with pytest.raises(InvalidInput, match="not kept online"):
        writer.write_view(names.USER_VECTORS, pa.table({"user_id": ["u"]}))
    with pytest.raises(InvalidInput, match="lack the columns event_timestamp"):
        writer.write_view(names.USER_BEHAVIOUR, pa.table({"user_id": ["u"]}))
    with pytest.raises(NotFound, match="no feature view missing"):
        writer.write_view("missing", pa.table({"user_id": ["u"]}))


def test_feasts_own_client_reads_what_was_written(
    writer: OnlineWriter, store: FeatureStore, reader: OnlineReader
) -> None:
    writer.write_portraits([portrait("u")])
    found = store.get_online_features(features=["user_serving:packed"], entity_rows=[{"user_id": "u"}]).to_dict()
    assert found["packed"] == [pack(portrait("u"))]


def test_readable_views_are_read_out_of_the_portrait_and_not_stored_beside_it(
    applied: Addresses, writer: OnlineWriter, store: FeatureStore, reader: OnlineReader
) -> None:
    writer.write_portraits([portrait("u", event_count=7)])
    stored = online_contents(applied)
    at = pa.array([NOW, NOW], MOMENT)
    rows = pa.table({"user_id": ["u", "v"], "event_timestamp": at, "event_count": pa.array([5, 6], pa.int32())})
    assert writer.write_view(names.USER_PROFILE, rows) == 2
    after = online_contents(applied)
    assert {key: after[key] for key in stored} == stored and len(after) == 2
    asked = ["user_profile:event_count", "user_profile:lifecycle", "user_serving:packed"]
    found = store.get_online_features(features=asked, entity_rows=[{"user_id": user} for user in "uvw"]).to_dict()
    assert found["event_count"] == [7, 6, None]
    assert found["lifecycle"] == [portrait("u").lifecycle, None, None]
    assert found["packed"] == [pack(portrait("u", event_count=7)), None, None]
    assert reader.values(names.USER_BEHAVIOUR, ["u", "w"])[1] is None


def test_a_row_newer_than_the_portrait_is_stored_and_read(writer: OnlineWriter, reader: OnlineReader) -> None:
    writer.write_portraits([portrait("u", event_count=7)])
    at = pa.array([NOW + timedelta(seconds=1)], MOMENT)
    writer.write_view(
        names.USER_PROFILE,
        pa.table({"user_id": ["u"], "event_timestamp": at, "event_count": pa.array([8], pa.int32())}),
    )
    (found,) = reader.values(names.USER_PROFILE, ["u"])
    assert found is not None and found["event_count"] == 8
    writer.write_portraits([portrait("u", NOW + timedelta(seconds=2), event_count=9)])
    (found,) = reader.values(names.USER_PROFILE, ["u"])
    assert found is not None and found["event_count"] == 9


def test_a_store_that_does_not_answer_is_named(applied: Addresses, store: FeatureStore) -> None:
    down = OnlineReader(applied, FeatureStore(config=repo_config(replace(applied, redis_socket="/tmp/nothing.sock"))))
    with pytest.raises(DependencyDown, match="Valkey"):
        down.portrait("u")


def test_a_database_without_a_registry_says_what_to_run(addresses: Addresses) -> None:
    with pytest.raises(NotReady, match="portrait features apply"):
        open_store(addresses)


# rebuilding the online store


def test_an_emptied_online_store_is_rebuilt_to_the_same_bytes(
    applied: Addresses, clean: psycopg.Connection, reader: OnlineReader, writer: OnlineWriter, offline: OfflineReader
) -> None:
    for n in range(5):
        insert_portrait(clean, portrait(f"u{n}", NOW - timedelta(days=2), event_count=n))
        insert_portrait(clean, portrait(f"u{n}", NOW - timedelta(days=1), event_count=n + 10))
    insert_profile(clean, "u1", NOW - timedelta(days=1), interests=Jsonb([{"name": "Skin"}]), newest_event=NOW)
    insert(clean, names.ENGAGEMENT_TABLE, {"item_id": "i", "event_timestamp": NOW, "popularity": 0.25})
    insert(clean, names.ITEMS_TABLE, {"item_id": "i", "title": "Crème", "categories": ["Care"], "price": 2.0})
    report = materialize(offline, writer, everything=True)
    assert report.rows == {
        names.ITEM_CATALOGUE: 1,
        names.ITEM_ENGAGEMENT: 1,
        names.USER_AFFINITIES: 0,
        names.USER_BEHAVIOUR: 0,
        names.USER_PROFILE: 1,
        names.USER_SERVING: 5,
    }
    before = online_contents(applied)
    assert reader.portrait("u3") == portrait("u3", NOW - timedelta(days=1), event_count=13)
    with redis.Redis.from_url(applied.redis_url) as client:
        client.flushdb()
    assert reader.portrait("u3") is None
    materialize(offline, writer, everything=True)
    assert online_contents(applied) == before
    assert len(before) == 6  # five users and an item


def test_later_runs_take_what_came_since(
    clean: psycopg.Connection, reader: OnlineReader, writer: OnlineWriter, offline: OfflineReader
) -> None:
    insert_portrait(clean, portrait("u", NOW - timedelta(days=3)))
    assert materialize(offline, writer).rows[names.USER_SERVING] == 1
    insert_portrait(clean, portrait("v", NOW))
    assert materialize(offline, writer).rows[names.USER_SERVING] == 1
    assert reader.portrait("v") == portrait("v", NOW)
    assert materialize(offline, writer, everything=True).rows[names.USER_SERVING] == 2


# the offline store


def test_latest_is_the_newest_row_of_each_entity(clean: psycopg.Connection, offline: OfflineReader) -> None:
    insert_profile(clean, "a", NOW - timedelta(days=2), confidence=0.25, long_term=b"\x01\x00")
    insert_profile(clean, "a", NOW - timedelta(days=1), confidence=0.5, long_term=b"\x02\x00")
    insert_profile(clean, "b", NOW - timedelta(days=9), confidence=0.75, interests=Jsonb([1, "x"]))
    rows = offline.latest(names.USER_PROFILE)
    assert rows["user_id"].to_pylist() == ["a", "b"]
    assert rows["confidence"].to_pylist() == [0.5, 0.75]
    assert rows["interests"].to_pylist() == ["[]", '[1, "x"]']
    assert rows["event_timestamp"].type == MOMENT
    assert offline.latest(names.USER_VECTORS)["long_term"].to_pylist() == [b"\x02\x00", None]
    since = offline.latest(names.USER_PROFILE, since=NOW - timedelta(days=5))
    assert since["user_id"].to_pylist() == ["a"]
    assert offline.entity_count(names.USER_PROFILE, since=NOW - timedelta(days=5)) == 1


def day(number: int, hour: int = 12) -> datetime:
    return datetime(2026, 3, number, hour, tzinfo=UTC)


def test_history_is_what_was_known_at_each_time(clean: psycopg.Connection, offline: OfflineReader) -> None:
    """user u: confidence 0.125 from 1 March, 0.25 from 10 March; 5 views in the behaviour row of 1 March (TTL 31 days).
    v: one row of 5 March. item i: popularity 0.5 from 2 March (no TTL)."""
    insert_profile(clean, "u", day(1), confidence=0.125)
    insert_profile(clean, "u", day(10), confidence=0.25)
    insert_profile(clean, "v", day(5), confidence=0.5)
    insert(clean, names.BEHAVIOUR_TABLE, {"user_id": "u", "event_timestamp": day(1), "views_30d": 5.0})
    insert(clean, names.ENGAGEMENT_TABLE, {"item_id": "i", "event_timestamp": day(2), "popularity": 0.5})
    asked = [
        ("u", "i", day(10), "at the very moment"),
        ("u", "i", day(10, 11), "an hour before the second row"),
        ("u", "i", day(1, 11), "before anything was known"),
        ("v", "none", day(20), "another user, an unknown item"),
        ("nobody", "i", day(20), "an unknown user"),
        ("u", "i", day(1) + timedelta(days=31), "the last moment of the TTL"),
        ("u", "i", day(1) + timedelta(days=31, seconds=1), "a second after it"),
    ]
    entities = pa.table(
        {
            "user_id": [row[0] for row in asked],
            "item_id": [row[1] for row in asked],
            "event_timestamp": pa.array([row[2] for row in asked], MOMENT),
            "note": [row[3] for row in asked],
        }
    )
    wanted = ["user_profile:confidence", "user_behaviour:views_30d", "item_engagement:popularity"]
    found = offline.historical(entities, wanted)
    assert found["note"].to_pylist() == [row[3] for row in asked]
    assert found["user_profile__confidence"].to_pylist() == [0.25, 0.125, None, 0.5, None, 0.25, 0.25]
    assert found["user_behaviour__views_30d"].to_pylist() == [5.0, 5.0, None, None, None, 5.0, None]
    assert found["item_engagement__popularity"].to_pylist() == [0.5, 0.5, None, None, 0.5, 0.5, 0.5]
    left = clean.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'feast_entities%'").fetchone()
    assert left == (0,)


def test_the_ranking_service_joins_users_items_and_the_request(
    clean: psycopg.Connection, offline: OfflineReader
) -> None:
    insert_portrait(clean, portrait("u", day(1)))
    affinity = {"categories": Jsonb([]), "brands": Jsonb([]), "price_typical": 20.0}
    insert(clean, names.AFFINITY_TABLE, {"user_id": "u", "event_timestamp": day(1), **affinity})
    entities = pa.table(
        {
            "user_id": ["u", "w"],
            "item_id": ["i", "i"],
            "event_timestamp": pa.array([day(8, 6), day(9, 12)], MOMENT),
            "requested_at": pa.array([day(8, 6), day(9, 12)], MOMENT),
            "item_price": [30.0, 30.0],
            "surface": ["product", "home"],
        }
    )
    found = offline.historical(entities, names.RANKING_SERVICE)
    assert found["user_serving__packed"].to_pylist() == [pack(portrait("u", day(1))), None]
    assert found["request_context__price_ratio"].to_pylist() == [1.5, 1.0]
    np.testing.assert_allclose(found["request_context__hour_sine"], [1.0, 0.0], atol=1e-9)
    assert found["request_context__weekend"].to_pylist() == [1.0, 0.0]  # 8 March 2026 is a Sunday
    assert found["request_context__on_product_page"].to_pylist() == [1.0, 0.0]
    assert len([name for name in found.column_names if name.startswith("user_behaviour__")]) == len(
        names.BEHAVIOUR_FEATURES
    )


def test_history_says_what_is_wrong_with_the_question(offline: OfflineReader) -> None:
    with pytest.raises(InvalidInput, match="event_timestamp"):
        offline.historical(pa.table({"user_id": ["u"]}), names.PROFILE_SERVICE)
    asked = pa.table({"user_id": ["u"], "event_timestamp": pa.array([NOW], MOMENT)})
    with pytest.raises(NotFound, match="no feature service wrong; there are profile_reading, ranking, retrieval"):
        offline.historical(asked, "wrong")


def test_the_joins_run_without_nested_loops(store: FeatureStore) -> None:
    with offline_connection(store.config) as connection:
        assert connection.exec_driver_sql("SHOW enable_nestloop").scalar() == "off"
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "30min"


# soundness


def test_check_finds_what_differs_online(
    clean: psycopg.Connection, reader: OnlineReader, writer: OnlineWriter, offline: OfflineReader
) -> None:
    insert_portrait(clean, portrait("u", NOW - timedelta(hours=1)))
    insert_portrait(clean, portrait("v", NOW - timedelta(hours=2)))
    insert_portrait(clean, portrait("expired", NOW - timedelta(days=500)))
    insert_profile(clean, "w", NOW - timedelta(hours=1), newest_event=NOW)
    materialize(offline, writer, everything=True)
    checks = {check.view: check for check in check_views(offline, reader, now=NOW)}
    assert [check.problem for check in checks.values() if check.problem] == []
    serving = checks[names.USER_SERVING]
    assert (serving.rows, serving.entities, serving.sampled, serving.agreeing) == (3, 3, 2, 2)
    assert serving.age_s == 3_600
    assert not checks[names.USER_VECTORS].online
    assert (checks[names.USER_PROFILE].sampled, checks[names.USER_PROFILE].agreeing) == (1, 1)
    writer.delete_portraits(["v"])
    checks = {check.view: check for check in check_views(offline, reader, now=NOW)}
    assert checks[names.USER_SERVING].behind == 1
    assert "portrait features materialize --all" in (checks[names.USER_SERVING].problem or "")


def test_check_reports_a_table_that_is_gone(
    clean: psycopg.Connection, reader: OnlineReader, offline: OfflineReader
) -> None:
    clean.execute("ALTER TABLE affinity_features RENAME TO elsewhere")
    try:
        checks = {check.view: check for check in check_views(offline, reader, now=NOW)}
    finally:
        clean.execute("ALTER TABLE elsewhere RENAME TO affinity_features")
    assert "affinity_features" in (checks[names.USER_AFFINITIES].problem or "")
    assert checks[names.USER_PROFILE].problem is None
