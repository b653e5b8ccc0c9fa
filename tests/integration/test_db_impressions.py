from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from services.core.addresses import Addresses
from services.db.events import insert_events
from services.db.impressions import ServedList, insert_impressions, prune_impressions, read_impressions
from services.db.session import make_engine, transaction
from services.registry.traffic import traffic_by_model

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    yield engine
    engine.dispose()


def served(request_id: str, *item_ids: str, **changes: object) -> ServedList:
    values = {
        "user_id": "ada",
        "surface": "home",
        "timestamp": NOON.timestamp() + 0.25,
        "model": "linear-blend@1",
        "scores": [1.5 - place for place in range(len(item_ids))],
        "propensities": [1.0] * len(item_ids),
        "sources": [["popular", "newest"]] * len(item_ids),
    }
    return ServedList(request_id=request_id, item_ids=list(item_ids), **(values | changes))


def test_lists_come_back_as_they_were_shown(engine: Engine):
    strange = 'käthe "the\\best" 用户 👋'
    lists = [
        served("r1", "a", "b,c", "d'e"),
        served("r2"),
        served("r3", strange, user_id=strange, surface=None, propensities=[0.125], sources=[[]]),
    ]
    with transaction(engine) as connection:
        assert insert_impressions(connection, lists) == 4
        found = read_impressions(connection, since=NOON, until=NOON + timedelta(seconds=1)).to_pylist()
    assert [(row["request_id"], row["position"], row["item_id"]) for row in found] == [
        ("r1", 0, "a"),
        ("r1", 1, "b,c"),
        ("r1", 2, "d'e"),
        ("r3", 0, strange),
    ]
    assert found[1]["score"] == 0.5 and found[1]["sources"] == ["popular", "newest"]
    assert found[1]["timestamp"] == NOON + timedelta(seconds=0.25)
    assert (found[3]["user_id"], found[3]["surface"], found[3]["propensity"]) == (strange, None, 0.125)
    assert found[3]["sources"] == []


def test_models_are_compared_by_what_came_of_their_lists(engine: Engine):
    later = NOON + timedelta(days=40)
    shown = {"timestamp": later.timestamp()}
    lists = [
        served("t1", "a", "b", user_id="u1", model="linear-blend@1", **shown),
        served("t2", "a", user_id="u2", model="linear-blend@1", **shown),
        served("t3", "a", "b", user_id="u3", model="learned@v1", **shown),
        served("t4", "a", user_id="u3", model="learned@v1", **shown),
    ]
    caused = [("t1", "u1", "click"), ("t3", "u3", "click"), ("t3", "u3", "purchase"), ("t4", "u3", "click")]
    caused += [("t1", "u9", "click"), ("t0", "u1", "click"), ("t3", "u3", "view")]  # of others, of no list, no click
    events = pa.table(
        {
            "event_id": [f"traffic-{n}" for n in range(len(caused))],
            "request_id": [request for request, _, _ in caused],
            "user_id": [user for _, user, _ in caused],
            "item_id": ["a"] * len(caused),
            "type": [kind for _, _, kind in caused],
            "timestamp": pa.array([later + timedelta(seconds=9)] * len(caused), pa.timestamp("us", "UTC")),
        }
    )
    with transaction(engine) as connection:
        insert_impressions(connection, lists)
        insert_events(connection, events)
        found = traffic_by_model(connection, later, later + timedelta(seconds=1))
        assert traffic_by_model(connection, later + timedelta(seconds=1), later + timedelta(days=1)) == []
    assert [(each.model, each.users, each.lists) for each in found] == [("learned@v1", 1, 2), ("linear-blend@1", 2, 2)]
    assert [(each.clicks.mean, each.purchases.mean) for each in found] == [(1.0, 0.5), (0.5, 0.0)]
    assert (found[1].clicks.low, found[1].clicks.high) == (0.0, 1.0)


def test_no_lists_write_nothing(engine: Engine):
    with transaction(engine) as connection:
        assert insert_impressions(connection, []) == 0
        assert insert_impressions(connection, [served("r9")]) == 0


def test_the_oldest_impressions_go_first_and_no_more_than_asked(engine: Engine):
    at = NOON - timedelta(days=400)
    lists = [served(f"old-{day}", "a", "b", timestamp=(at + timedelta(days=day)).timestamp()) for day in range(3)]
    with transaction(engine) as connection:
        insert_impressions(connection, lists)
        assert prune_impressions(connection, at, 10) == 0
        assert prune_impressions(connection, at + timedelta(days=2), 3) == 3
        assert prune_impressions(connection, at + timedelta(days=2), 3) == 1
        left = read_impressions(connection, since=at, until=at + timedelta(days=3))
    assert left["request_id"].to_pylist() == ["old-2", "old-2"]
