"""The tail against real PostgreSQL: what is committed becomes portraits, once, whatever happens."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from tail_shop import DAY, MINUTE, NOW, add, insert, kept, own, same_as_recomputed, settle, tailing, with_reference

from services.core.addresses import Addresses
from services.db.events import delete_event
from services.db.leases import LeaseLost
from services.db.pending import Reason, enqueue, fulfil, take_pending
from services.db.session import make_engine, transaction
from services.db.users import upsert_user
from services.profiles.tail import Tail, TailLimits


def test_a_committed_event_is_in_the_portrait_after_a_step(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    tail.step()
    assert tail.maker.writer.portraits["ada"].bought == ("lips-1",)
    assert same_as_recomputed(engine, tail.maker.writer)


def test_new_events_alone_are_added_to_what_is_kept(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    tail.step()
    before = tail.report.rebuilt
    add(engine, ("e2", "ada", "nails-1", "click", NOW - MINUTE, {"position": 2}))
    tail.step()
    assert tail.report.rebuilt == before
    assert tail.maker.writer.portraits["ada"].event_count == 2
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_late_event_lands_at_its_time(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - MINUTE))
    tail.step()
    add(engine, ("e2", "ada", "lips-1", "view", NOW - 3 * DAY, {"dwell_ms": 9_000}))
    tail.step()
    assert tail.maker.writer.portraits["ada"].newest_event == (NOW - MINUTE).timestamp()
    assert same_as_recomputed(engine, tail.maker.writer)


def test_an_idle_tail_writes_nothing(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    writes = tail.maker.writer.writes
    assert tail.step() is False
    assert tail.maker.writer.writes == writes


def test_what_is_no_signal_is_read_once(engine: Engine, database: Addresses):
    with tailing(database.sqlalchemy_url, limits=TailLimits(idle_s=0.0)) as tail:
        settle(tail)
        add(engine, *((f"i{n}", "ada", "lips-1", "impression", NOW - DAY) for n in range(3)))
        assert tail.step() is False
        with transaction(engine) as connection:
            read = connection.execute(text("SELECT DISTINCT snapshot::text FROM tail_partitions")).scalars().all()
            impressions = connection.execute(text("SELECT max(txid)::text FROM events")).scalar_one()
        assert [one.snapshot for one in tail.leases] == read * len(tail.leases)
        assert int(impressions) < int(read[0].split(":")[1])
        add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
        settle(tail)
        assert same_as_recomputed(engine, tail.maker.writer)


def test_an_older_transaction_that_commits_late_is_not_skipped(engine: Engine, tail: Tail):
    with engine.connect() as slow, slow.begin():
        insert(slow, ("slow", "ada", "lips-1", "purchase", NOW - DAY))
        add(engine, ("fast", "bea", "nails-1", "cart", NOW - DAY))
        tail.step()
        assert sorted(tail.maker.writer.portraits) == ["bea"]  # an open transaction holds nobody else up
    add(engine, ("later", "bea", "nails-1", "purchase", NOW - MINUTE))
    tail.step()
    assert tail.maker.writer.portraits["ada"].event_count == 1
    assert tail.maker.writer.portraits["bea"].event_count == 2
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_rolled_back_transaction_leaves_no_trace(engine: Engine, tail: Tail):
    with engine.connect() as connection:
        insert(connection, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
        connection.rollback()
    add(engine, ("e2", "ada", "nails-1", "purchase", NOW - DAY))
    settle(tail)
    assert tail.maker.writer.portraits["ada"].bought == ("nails-1",)


def test_a_step_that_fails_before_its_commit_is_done_again_once(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    add(engine, ("e2", "ada", "lips-1", "purchase", NOW - MINUTE))
    real = tail.maker.writer.write_packed

    def crash(rows: list) -> None:
        real(rows)
        raise KeyboardInterrupt("the process dies here")

    tail.maker.writer.write_packed = crash
    with pytest.raises(KeyboardInterrupt):
        tail.step()
    tail.maker.writer.write_packed = real
    settle(tail)
    assert tail.maker.writer.portraits["ada"].event_count == 2
    assert same_as_recomputed(engine, tail.maker.writer)


def test_an_owner_that_was_too_slow_is_fenced_out(engine: Engine, tail: Tail, database: Addresses):
    with transaction(engine) as connection:
        connection.execute(text("UPDATE tail_partitions SET expires_at = now() - interval '1 s'"))
        connection.execute(text("UPDATE tail_owners SET expires_at = now() - interval '1 s'"))
    with tailing(database.sqlalchemy_url, "tail-2") as other:
        add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
        with pytest.raises(LeaseLost):
            tail.step()
        assert "ada" not in tail.maker.writer.portraits
        settle(other)
        assert other.maker.writer.portraits["ada"].event_count == 1


def test_the_leases_of_an_owner_that_died_as_the_clock_was_set_back_are_free(
    engine: Engine, tail: Tail, database: Addresses
):
    with transaction(engine) as connection:
        connection.execute(text("UPDATE tail_partitions SET expires_at = now() + interval '1 hour'"))
        connection.execute(text("UPDATE tail_owners SET expires_at = now() + interval '1 hour'"))
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    with tailing(database.sqlalchemy_url, "tail-2") as successor:
        assert successor.partitions == list(range(16))
        settle(successor)
        assert successor.maker.writer.portraits["ada"].event_count == 1


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_portraits_stay_exact_when_the_clock_jumps_an_hour(engine: Engine, database: Addresses, jump: timedelta):
    clock = [datetime.now(UTC)]
    with tailing(database.sqlalchemy_url, clock=lambda: clock[0]) as tail:
        add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
        settle(tail)
        before = tail.maker.writer.portraits["ada"].as_of
        clock[0] += jump
        add(engine, ("e2", "ada", "lips-2", "click", NOW - MINUTE), ("e3", "bob", "lips-1", "click", NOW - MINUTE))
        settle(tail)
        portraits = tail.maker.writer.portraits
        assert [portraits[user].event_count for user in ("ada", "bob")] == [2, 1]
        assert portraits["ada"].as_of > before  # the online store takes what is newer alone
        assert same_as_recomputed(engine, tail.maker.writer)


def test_partitions_are_shared_out_and_handed_over(engine: Engine, tail: Tail, database: Addresses):
    with tailing(database.sqlalchemy_url, "tail-2", tail.maker.writer) as other:
        assert other.leases == ()
        own(tail)
        own(other)
        assert sorted(tail.partitions + other.partitions) == list(range(16))
        assert len(other.partitions) == 8
        add(engine, *((f"e{n}", f"user-{n}", "lips-1", "purchase", NOW - DAY) for n in range(40)))
        settle(tail)
        settle(other)
    assert len(tail.maker.writer.portraits) == 40
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_user_whose_events_raise_is_set_apart_and_others_go_on(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    from services.profiles import portrait_maker as module

    real = module.compute

    def poisoned(batch, *rest):
        if "eve" in batch.users():
            raise ZeroDivisionError("a poison event")
        return real(batch, *rest)

    monkeypatch.setattr(module, "compute", poisoned)
    add(engine, *((f"e{n}", user, "lips-1", "click", NOW - DAY) for n, user in enumerate(("ada", "eve", "zoe"))))
    settle(tail)
    assert sorted(tail.maker.writer.portraits) == ["ada", "zoe"]
    assert tail.report.quarantined == 1
    add(engine, ("more", "eve", "lips-2", "click", NOW - MINUTE), ("more-2", "ada", "lips-2", "click", NOW - MINUTE))
    settle(tail)
    assert tail.maker.writer.portraits["ada"].event_count == 2
    monkeypatch.setattr(module, "compute", real)
    with transaction(engine) as connection:
        enqueue(connection, ["eve"], "rebuild")
    settle(tail)
    assert tail.maker.writer.portraits["eve"].event_count == 2
    assert same_as_recomputed(engine, tail.maker.writer)


def test_events_that_break_the_step_itself_are_set_apart_too(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    from services.profiles import portrait_maker
    from services.profiles import tail as module

    def broken(*_: object) -> list[str]:
        raise ZeroDivisionError("outside any user's computation")

    real = portrait_maker.user_states.read_visible

    def breaks_for_eve(connection, user_ids, *rest):
        if "eve" in user_ids:
            raise ZeroDivisionError("unreadable")
        return real(connection, user_ids, *rest)

    monkeypatch.setattr(module, "to_rebuild", broken)
    monkeypatch.setattr(portrait_maker.user_states, "read_visible", breaks_for_eve)
    add(engine, *((f"e{n}", user, "lips-1", "click", NOW - DAY) for n, user in enumerate(("ada", "eve", "zoe"))))
    settle(tail)
    assert sorted(tail.maker.writer.portraits) == ["ada", "zoe"]
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT user_id FROM quarantined_users")).scalars().all() == ["eve"]


def test_while_the_online_store_is_down_states_go_on_and_are_published_afterwards(engine: Engine, tail: Tail):
    tail.maker.writer.down = True
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    tail.step()
    assert kept(engine, "ada").num_rows == 1
    assert tail.maker.store_down and tail.maker.writer.portraits == {}
    tail.maker.writer.down = tail.maker.store_down = False
    settle(tail)
    assert same_as_recomputed(engine, tail.maker.writer)
    assert list(tail.maker.writer.portraits) == ["ada"]


def test_a_deleted_event_is_gone_from_the_portrait(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY), ("e2", "ada", "nails-1", "cart", NOW - DAY))
    settle(tail)
    with transaction(engine) as connection:
        enqueue(connection, [delete_event(connection, "e1")], "rebuild")
    settle(tail)
    assert tail.maker.writer.portraits["ada"].bought == ()
    with transaction(engine) as connection:
        enqueue(connection, [delete_event(connection, "e2")], "rebuild")
    settle(tail)
    assert tail.maker.writer.portraits == {}
    assert kept(engine, "ada").num_rows == 0


def test_a_user_who_refuses_has_no_portrait(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    with transaction(engine) as connection:
        upsert_user(connection, "ada", consent={"personalisation": False})
        enqueue(connection, ["ada"], "rebuild")
    add(engine, ("e2", "ada", "lips-1", "purchase", NOW - MINUTE))
    settle(tail)
    assert tail.maker.writer.portraits == {}
    assert kept(engine, "ada").num_rows == 0


def test_portraits_follow_the_catalogue(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY), ("e2", "bea", "serum-1", "purchase", NOW - DAY))
    settle(tail)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE items SET brand = 'New' WHERE item_id = 'lips-1'"))
    settle(tail)
    assert tail.maker.writer.portraits["ada"].brands[0][0] == "New"
    assert same_as_recomputed(engine, tail.maker.writer)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE catalogue_changes SET changed_at = now() - interval '25 hours'"))
        connection.execute(text("UPDATE items SET brand = 'Newer' WHERE item_id = 'serum-1'"))
    settle(tail)
    with transaction(engine) as connection:
        kept_changes = connection.execute(text("SELECT item_id FROM catalogue_changes")).scalars().all()
    assert kept_changes == ["serum-1"], "what a recompute may have begun before is kept, and nothing else"


def test_a_shop_too_large_to_hold_is_read_by_tick(engine: Engine, database: Addresses):
    from services.profiles.live_catalogue import LiveCatalogue

    with tailing(
        database.sqlalchemy_url, catalogue=LiveCatalogue(make_engine(database.sqlalchemy_url), most_items=1)
    ) as tail:
        add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
        settle(tail)
        with transaction(engine) as connection:
            connection.execute(text("UPDATE items SET price = 99 WHERE item_id = 'lips-1'"))
        add(engine, ("e2", "ada", "nails-1", "purchase", NOW - MINUTE))
        settle(tail)
        assert same_as_recomputed(engine, tail.maker.writer)


def test_a_flood_is_taken_in_bounded_steps(engine: Engine, database: Addresses):
    with tailing(database.sqlalchemy_url, limits=TailLimits(events=10, rebuild_users=3, publish_users=3)) as tail:
        settle(tail)
        rows = [(f"e{n}", f"user-{n % 23}", "lips-1", "click", NOW - DAY + n * MINUTE) for n in range(200)]
        rows += [(f"big{n}", "heavy", "nails-1", "click", NOW - DAY + n * MINUTE) for n in range(50)]
        add(engine, *rows)
        assert settle(tail) > 5
        assert len(tail.maker.writer.portraits) == 24
        assert same_as_recomputed(engine, tail.maker.writer)


def test_large_states_are_computed_some_users_at_a_time(
    engine: Engine, database: Addresses, monkeypatch: pytest.MonkeyPatch
):
    from services.profiles import portrait_maker as module

    real, batches = module.compute, []

    def seen(batch, *rest):
        batches.append(batch.users())
        return real(batch, *rest)

    monkeypatch.setattr(module, "compute", seen)
    users = [f"user-{n}" for n in range(5)]
    with tailing(database.sqlalchemy_url, limits=TailLimits(state_bytes=1)) as tail:
        settle(tail)
        for item in ("lips-1", "nails-1"):
            add(engine, *((f"{item}-{user}", user, item, "click", NOW - MINUTE) for user in users))
            settle(tail)
        assert batches == 2 * [[user] for user in users]
        assert same_as_recomputed(engine, tail.maker.writer)


def test_a_new_reference_rebuilds_whoever_is_touched(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    with_reference(engine, purchase=0.5)
    add(engine, ("e2", "ada", "nails-1", "purchase", NOW - MINUTE))
    settle(tail)
    assert kept(engine, "ada").column("reference_version").to_pylist()[0] > 0
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_log_restored_into_a_younger_cluster_is_taken_from_its_start(engine: Engine, tail: Tail):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY), ("e2", "bea", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    far = "SET snapshot = '4000000000:4000000000:'"
    with transaction(engine) as connection:  # as a dump brings it: ids of a cluster that had come much further
        connection.execute(text("UPDATE events SET txid = '3999999999'"))
        connection.execute(text(f"UPDATE user_states {far}"))
        connection.execute(text(f"UPDATE tail_partitions {far}, catalogue = '4000000000:4000000000:'"))
    own(tail)
    add(engine, ("e3", "ada", "nails-1", "purchase", NOW - MINUTE))
    with pytest.raises(LeaseLost):
        tail.step()
    own(tail)
    settle(tail)
    assert tail.maker.writer.portraits["ada"].event_count == 2
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_request_that_is_repeated_while_it_is_fulfilled_stays(engine: Engine):
    with transaction(engine) as connection:
        enqueue(connection, ["ada", "bea"], Reason.REBUILD)
    with transaction(engine) as connection:
        taken = take_pending(connection, range(16), Reason.REBUILD, 10)
        with transaction(engine) as other:
            enqueue(other, ["bea"], Reason.PUBLISH)
        fulfil(connection, taken)
    with transaction(engine) as connection:
        assert take_pending(connection, range(16), Reason.REBUILD, 10).user_ids == ("bea",)
