"""The tail beside other writers of the same states: a recompute, a new reference, users who refuse or are erased."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tail_shop import DAY, MINUTE, NOW, add, kept, same_as_recomputed, settle, with_reference

from services.core.clock import utc_now
from services.core.errors import DependencyDown
from services.db.pending import Reason, enqueue
from services.db.session import transaction
from services.db.user_states import current_snapshot, load_states, write_states
from services.db.users import erase_user, upsert_user
from services.profiles.recompute import recompute_profiles
from services.profiles.tail import Tail


def after(what: Callable[[], object], then: Callable[..., Any]) -> Callable[..., Any]:
    def both(*given: object, **named: object) -> object:
        what()
        return then(*given, **named)

    return both


def meanwhile(tail: Tail, monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Have something happen once in the midst of the tail's next update: states are read, and not yet written."""
    compute = tail.maker._computed

    def computed(*given: object) -> object:
        monkeypatch.undo()
        what()
        return compute(*given)

    monkeypatch.setattr(tail.maker, "_computed", computed)


def recompute(engine: Engine, tail: Tail) -> None:
    recompute_profiles(engine, tail.maker.writer, as_of=utc_now(), keep_states=True)


def test_a_recompute_that_was_quicker_has_its_portrait_online_in_the_end(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    def another() -> None:
        add(engine, ("e2", "ada", "nails-1", "purchase", NOW - MINUTE))
        recompute(engine, tail)

    meanwhile(tail, monkeypatch, another)
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    tail.step()
    assert tail.maker.writer.portraits["ada"].event_count == 1
    settle(tail)
    assert tail.maker.writer.portraits["ada"].event_count == 2
    assert same_as_recomputed(engine, tail.maker.writer)


def test_an_update_begun_under_the_reference_before_is_made_again(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)

    def updated() -> None:
        """The tail finishes an update that it began before there was another reference."""
        add(engine, ("e2", "ada", "nails-1", "purchase", NOW - MINUTE))
        tail.step()
        monkeypatch.undo()

    with_reference(engine, purchase=0.5)
    monkeypatch.setattr(tail.catalogue, "view", lambda *_: tail.catalogue._view)
    monkeypatch.setattr("services.profiles.recompute_chunk.write_states", after(updated, write_states))
    recompute(engine, tail)
    assert kept(engine, "ada").column("reference_version").to_pylist() == [0]
    settle(tail)
    assert kept(engine, "ada").column("reference_version").to_pylist()[0] > 0
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_new_reference_in_the_midst_of_a_step_still_rebuilds_everybody(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    view = tail.catalogue.view

    def refitted(*given: object) -> object:
        monkeypatch.undo()
        with_reference(engine, purchase=0.5)
        with transaction(engine) as connection:
            enqueue(connection, ["ada"], Reason.REBUILD)
        return view(*given)

    monkeypatch.setattr(tail.catalogue, "view", refitted)
    add(engine, ("e2", "ada", "nails-1", "purchase", NOW - MINUTE))
    settle(tail)
    assert kept(engine, "ada").column("reference_version").to_pylist()[0] > 0
    assert same_as_recomputed(engine, tail.maker.writer)


def test_an_item_that_changes_during_a_recompute_is_as_it_is_now_in_the_end(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)

    def changed() -> None:
        """The tail follows a change before the recompute, which has read the item as it was, reads its user."""
        with transaction(engine) as connection:
            connection.execute(text("UPDATE items SET brand = 'Dew' WHERE item_id = 'lips-1'"))
        settle(tail)

    monkeypatch.setattr("services.profiles.recompute_chunk.load_states", after(changed, load_states))
    recompute(engine, tail)
    monkeypatch.undo()
    settle(tail)
    assert [name for name, *_ in tail.maker.writer.portraits["ada"].brands] == ["Dew"]
    assert same_as_recomputed(engine, tail.maker.writer)


def test_a_user_who_refuses_during_a_recompute_has_no_portrait_in_the_end(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY), ("e2", "bea", "lips-1", "purchase", NOW - DAY))
    settle(tail)

    def refused() -> None:
        with transaction(engine) as connection:
            upsert_user(connection, "ada", consent={"personalisation": False})
        settle(tail)

    monkeypatch.setattr("services.profiles.recompute_chunk.load_states", after(refused, load_states))
    recompute(engine, tail)
    monkeypatch.undo()
    assert feature_rows(engine, "ada") == 0
    settle(tail)
    assert tail.maker.writer.portraits.keys() == {"bea"}
    assert kept(engine, "ada").num_rows == 0


def test_a_user_erased_before_a_recompute_publishes_has_no_portrait_in_the_end(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    publish = tail.maker.writer.write_portraits

    def erased(portraits: list) -> None:
        with transaction(engine) as connection:
            erase_user(connection, "ada")
        settle(tail)
        publish(portraits)

    monkeypatch.setattr(tail.maker.writer, "write_portraits", erased)
    recompute(engine, tail)
    monkeypatch.undo()
    settle(tail)
    assert tail.maker.writer.portraits == {} and feature_rows(engine, "ada") == 0


def test_what_the_store_does_not_take_of_a_recompute_is_published_later(
    engine: Engine, tail: Tail, monkeypatch: pytest.MonkeyPatch
):
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))

    def down(portraits: list) -> None:
        raise DependencyDown("The online store does not answer")

    monkeypatch.setattr(tail.maker.writer, "write_portraits", down)
    report = recompute_profiles(engine, tail.maker.writer, as_of=utc_now(), keep_states=True)
    monkeypatch.undo()
    assert report.store_failed and report.users == 1
    settle(tail)
    assert tail.maker.writer.portraits["ada"].event_count == 1
    assert same_as_recomputed(engine, tail.maker.writer)


def feature_rows(engine: Engine, user: str) -> int:
    with transaction(engine) as connection:
        query = text("SELECT count(*) FROM serving_features WHERE user_id = :user")
        return connection.execute(query, {"user": user}).scalar_one()


def test_a_state_is_never_replaced_by_one_of_an_earlier_snapshot(engine: Engine, tail: Tail):
    with transaction(engine) as connection:
        early = current_snapshot(connection)
    add(engine, ("e1", "ada", "lips-1", "purchase", NOW - DAY))
    settle(tail)
    with transaction(engine) as connection:
        stored = load_states(connection, ["ada"])
        rows = stored.append_column("packed", [[b"old"]])
        assert write_states(connection, rows, early, neighbours=False) == set()
        assert len(write_states(connection, rows, current_snapshot(connection), neighbours=False)) == 1
