from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from services.core.addresses import Addresses
from services.db.impressions import ServedList, insert_impressions, read_impressions
from services.db.session import make_engine, transaction

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


def test_no_lists_write_nothing(engine: Engine):
    with transaction(engine) as connection:
        assert insert_impressions(connection, []) == 0
        assert insert_impressions(connection, [served("r9")]) == 0
