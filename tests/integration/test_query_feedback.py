"""Attribution by request: exact, whatever was committed first, and the same in any batches."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.db.impressions import ServedList, insert_impressions
from services.db.query_feedback import FeedbackConfig, attribute, prune_searches
from services.db.query_statistics import (
    frequent_queries,
    pending_feedback,
    queries_without_results,
    query_item_weights,
    reformulations,
    search_totals,
    seldom_clicked_queries,
    successful_queries,
)
from services.db.searches import AnsweredSearch, insert_searches, recent_queries
from services.db.session import make_engine, transaction

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HALF_LIFE = FeedbackConfig().half_life_s
numbers = itertools.count()


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    with transaction(engine) as connection:
        tables = "searches, query_statistics, query_items, checkpoints, impressions, events, event_keys"
        connection.execute(text(f"TRUNCATE {tables}"))
        connection.execute(text("SELECT ensure_event_partition('2026-11-01T00:00Z')"))
    yield engine
    engine.dispose()


def searched(request_id: str, query: str, user: str | None = "ada", at: datetime = NOON, total: int = 3):
    return AnsweredSearch(request_id, user, "search", at.timestamp(), query, query.lower(), None, "hybrid", total)


def search(engine: Engine, *answered: AnsweredSearch) -> None:
    with transaction(engine) as connection:
        insert_searches(connection, answered)


def event(engine: Engine, request_id: str | None, kind: str, item: str, at: datetime = NOON, position=None, user="ada"):
    event_id = f"e{next(numbers)}"
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO events (event_key, timestamp, event_id, user_id, item_id, type, request_id, position) "
                "VALUES (gen_random_uuid(), :at, :id, :user, :item, :kind, :request, :position)"
            ),
            {"at": at, "id": event_id, "user": user, "item": item}
            | {"kind": kind, "request": request_id, "position": position},
        )


def run(engine: Engine, **options):
    with transaction(engine) as connection:
        return attribute(connection, **options)


def statistics(engine: Engine, now: datetime = NOON) -> dict[str, tuple]:
    with transaction(engine) as connection:
        rows = frequent_queries(connection, now, 100)
    return {r.query: (r.searches, r.zero_results, r.clicked, r.clicks, r.purchases, r.mean_position) for r in rows}


def weights(engine: Engine, now: datetime = NOON) -> dict[tuple[str, str], float]:
    with transaction(engine) as connection:
        rows = query_item_weights(connection, now).to_pylist()
    return {(row["query"], row["item_id"]): pytest.approx(row["weight"], rel=1e-9) for row in rows}


def test_clicks_and_purchases_count_for_the_query_that_led_to_them(engine: Engine):
    search(engine, searched("r1", "Lamp"), searched("r2", "lamp"), searched("r3", "sofa", total=0))
    event(engine, "r1", "click", "a", position=2)
    event(engine, "r1", "click", "b", position=0)
    event(engine, "r1", "purchase", "b")
    event(engine, "other", "click", "a")
    event(engine, None, "purchase", "a")
    counted = run(engine)
    assert (counted.searches, counted.events) == (3, 3)
    assert statistics(engine) == {"lamp": (2, 0, 1, 2, 1, 1.0), "sofa": (1, 1, 0, 0, 0, None)}
    assert weights(engine) == {("lamp", "a"): 1.0, ("lamp", "b"): 9.0}
    assert (run(engine).searches, run(engine).events) == (0, 0)


def test_an_event_that_was_committed_before_its_search_counts_once(engine: Engine):
    search(engine, searched("r1", "lamp"))
    event(engine, "r2", "click", "a", at=NOON + timedelta(seconds=2))
    assert run(engine).events == 0
    search(engine, searched("r2", "lamp", at=NOON + timedelta(seconds=1)))
    assert run(engine).events == 1
    assert run(engine).events == 0
    assert statistics(engine) == {"lamp": (2, 0, 1, 1, 0, None)}


def test_any_batches_give_what_counting_everything_anew_gives(engine: Engine):
    for day in range(6):
        at = NOON - day * 9 * DAY
        name = ("lamp", "sofa")[day % 2]
        search(engine, searched(f"r{day}", name, at=at))
        event(engine, f"r{day}", "click", "a", at=max(at, datetime(2026, 11, 1, tzinfo=UTC)), position=day)
        if day % 2:
            event(engine, "r0", "purchase", f"i{day}", at=NOON + timedelta(hours=day))
            run(engine)
    run(engine)
    by_batches, sums = statistics(engine), weights(engine)
    run(engine, everything=True)
    assert statistics(engine) == by_batches
    assert weights(engine) == sums
    assert sum(row[3] for row in by_batches.values()) == 6


def test_what_was_done_fades_by_half_in_a_half_life(engine: Engine):
    search(engine, searched("r1", "lamp"))
    event(engine, "r1", "purchase", "b")
    run(engine)
    assert weights(engine, NOON + timedelta(seconds=HALF_LIFE)) == {("lamp", "b"): 4.0}


def test_what_is_left_of_old_searches_is_what_counting_anew_gives(engine: Engine):
    search(engine, searched("r1", "Lamp"), searched("r2", "Sofa", at=NOON + DAY))
    event(engine, "r1", "purchase", "a")
    event(engine, "r2", "click", "b", at=NOON + DAY, position=3)
    run(engine)
    with transaction(engine) as connection:
        assert prune_searches(connection, NOON) == 0
        assert prune_searches(connection, NOON + DAY / 2) == 1
        assert recent_queries(connection, "ada", NOON, 10) == ["Sofa"]
    left = statistics(engine), weights(engine)
    assert (set(left[0]), set(left[1])) == ({"sofa"}, {("sofa", "b")})
    run(engine, everything=True)
    assert (statistics(engine), weights(engine)) == left


def test_another_configuration_counts_everything_anew(engine: Engine):
    search(engine, searched("r1", "lamp"))
    event(engine, "r1", "click", "a")
    run(engine)
    run(engine, config=FeedbackConfig(weights={"click": 5.0}))
    assert weights(engine) == {("lamp", "a"): 5.0}
    assert statistics(engine) == {"lamp": (1, 0, 1, 1, 0, None)}


def test_a_position_that_the_event_does_not_name_is_that_of_the_impression(engine: Engine):
    search(engine, searched("r1", "lamp"))
    shown = ServedList("r1", "ada", "search", NOON.timestamp(), "m", ["x", "a"], [1, 0], [1, 1], [[], []])
    with transaction(engine) as connection:
        insert_impressions(connection, [shown])
    event(engine, "r1", "click", "a")
    run(engine)
    assert statistics(engine) == {"lamp": (1, 0, 1, 1, 0, 1.0)}


def test_queries_that_disappoint_are_found_with_what_was_asked_next(engine: Engine):
    later = NOON + timedelta(minutes=1)
    search(engine, searched("r1", "sopha", total=0), searched("r2", "sofa", at=later))
    search(engine, searched("r3", "sopha", "bob", total=0), searched("r4", "sofa", "bob", at=later))
    search(engine, *(searched(f"s{n}", "chair") for n in range(5)))
    event(engine, "r2", "click", "a", at=later)
    event(engine, "r4", "click", "a", at=later, user="bob")
    run(engine)
    with transaction(engine) as connection:
        assert [row.query for row in queries_without_results(connection, NOON, 10)] == ["sopha"]
        assert [row.query for row in seldom_clicked_queries(connection, NOON, 10, least=5, share=0.1)] == ["chair"]
        assert reformulations(connection, ["sopha"], within_s=300, most=3) == [("sopha", "sofa", 2)]
        totals = search_totals(connection)
    assert (totals["queries"], totals["searches"], totals["zero_results"], totals["clicked"]) == (3, 9, 2, 2)


def test_a_query_counts_as_often_as_different_people_asked_it(engine: Engine):
    again = [searched(f"again-{n}", "my own name", "ada") for n in range(3)]
    unknown = [searched(f"unknown-{n}", "lamp", None) for n in range(2)]
    empty = [searched(f"empty-{user}", "oak lmp", user, total=0) for user in ("ada", "bob")]
    search(engine, *again, *unknown, *empty, searched("lamp-ada", "lamp", "ada"), searched("lamp-bob", "Lamp", "bob"))
    run(engine)
    with transaction(engine) as connection:
        assert successful_queries(connection, 10) == {"my own name": 1, "lamp": 3}


def test_whether_there_is_anything_to_count(engine: Engine):
    search(engine, searched("r1", "lamp"))
    run(engine)
    with transaction(engine) as connection:
        below = connection.execute(
            text("SELECT value -> 'below' FROM checkpoints WHERE name = 'query-feedback'")
        ).scalar()
        assert not pending_feedback(connection, below)
    event(engine, "r1", "click", "a")
    with transaction(engine) as connection:
        assert pending_feedback(connection, below)


def test_recent_queries_are_the_users_own_newest_first_each_once(engine: Engine):
    minutes = [NOON + timedelta(minutes=n) for n in range(4)]
    search(engine, searched("r1", "Lamp", at=minutes[0]), searched("r2", "sofa", at=minutes[1]))
    search(engine, searched("r3", "Lamp", at=minutes[2]), searched("r4", "desk", "bob", at=minutes[3]))
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO events (event_key, timestamp, event_id, user_id, type, query) "
                "VALUES (gen_random_uuid(), :at, 'q', 'ada', 'search', 'rug')"
            ),
            {"at": minutes[3]},
        )
        assert recent_queries(connection, "ada", NOON, 10) == ["rug", "Lamp", "sofa"]
        assert recent_queries(connection, "ada", NOON, 1) == ["rug"]
        assert recent_queries(connection, "nobody", NOON, 10) == []
        connection.execute(text("INSERT INTO users (user_id, consent) VALUES ('ada', '{\"personalisation\": false}')"))
        assert recent_queries(connection, "ada", NOON, 10) is None
        connection.execute(text("DELETE FROM users WHERE user_id = 'ada'"))
