"""What `portrait evaluate` reads of a running stack's database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Engine

from services.core.addresses import Addresses
from services.core.errors import NotReady
from services.db.embeddings import write_vectors
from services.db.events import insert_events
from services.db.items import upsert_items
from services.db.session import make_engine, transaction
from services.profiles.offline import offline_serving
from services.profiles.shop_data import stored_data
from training.event_log import make_event_log
from training.splits import leave_one_out

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    yield engine
    engine.dispose()


def test_the_stored_shop_can_be_split_and_served(engine: Engine) -> None:
    with pytest.raises(NotReady, match="no events"):
        stored_data(engine)
    bought = [("u", "abc"), ("v", "bca")]
    rows = [(user, item, START + timedelta(days=day)) for user, items in bought for day, item in enumerate(items)]
    events = pa.table(
        {
            "event_id": [f"{user}-{item}" for user, item, _ in rows],
            "user_id": [user for user, _, _ in rows],
            "item_id": [item for _, item, _ in rows],
            "type": ["purchase"] * len(rows),
            "timestamp": pa.array([time for *_, time in rows], pa.timestamp("us", "UTC")),
        }
    )
    with transaction(engine) as connection:
        upsert_items(connection, pa.table({"item_id": list("abcd"), "title": list("ABCD")}))
        write_vectors(connection, "by-hand", ["a", "c"], np.eye(2, dtype=np.float32), [["text"]] * 2, START)
        insert_events(connection, events)
    data = stored_data(engine)
    assert data.item_ids.to_pylist() == ["a", "b", "c", "d"]
    assert data.space == "by-hand"
    assert data.vectors is not None
    assert data.vectors.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]
    split = leave_one_out(make_event_log(data.events, data.item_ids)).test
    snapshot, portraits, now = offline_serving(
        split.fit_events(), split.history_events(), data.items, data.vector_table()
    )
    assert snapshot.has_vector.tolist() == [True, False, True, False]
    assert {user: set(portrait.bought) for user, portrait in portraits.items()} == {"u": set("ab"), "v": set("bc")}
    assert now == (START + timedelta(days=1)).timestamp()
