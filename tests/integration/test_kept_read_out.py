"""Portraits read out of kept states: the same as from all events, without a look at those."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from tail_shop import DAY, MINUTE, NOW, Recorder, add, empty_shop, kept, settle, tailing

from services.core.addresses import Addresses
from services.db import user_states
from services.db.session import make_engine, transaction
from services.features.portrait import Portrait, pack, unpack
from services.profiles import recompute_chunk
from services.profiles.recompute import recompute_profiles
from services.profiles.recompute_report import RecomputeReport

HISTORY = (
    ("a1", "ada", "lips-1", "purchase", NOW - 9 * DAY),
    ("a2", "ada", "lips-2", "rating", NOW - DAY, {"rating": 5}),
    ("b1", "bea", "lips-1", "view", NOW - DAY),
    ("b2", "bea", "nails-1", "cart", NOW - 2 * MINUTE),
)

STATE = ["totals", "items", "item_ids", "log", "snapshot"]


class Online(Recorder):
    def write_portraits(self, portraits: list[Portrait]) -> None:
        self.portraits |= {portrait.user_id: portrait for portrait in portraits}


@pytest.fixture
def tailed(database: Addresses) -> Iterator[Engine]:
    """A shop whose users' states the tail keeps."""
    engine = make_engine(database.sqlalchemy_url, pool_size=4)
    empty_shop(engine)
    add(engine, *HISTORY)
    with tailing(database.sqlalchemy_url) as tail:
        settle(tail)
    yield engine
    engine.dispose()


def read_out(engine: Engine, online: Online, *users: str) -> RecomputeReport:
    return recompute_profiles(engine, online, user_ids=users, as_of=NOW, keep_states=True, from_states=True)


def packed(engine: Engine, user: str) -> bytes:
    with transaction(engine) as connection:
        return user_states.load_packed(connection, [user])[0][2]


def test_kept_states_give_the_portraits_of_all_events(tailed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recompute_profiles(tailed, None, as_of=NOW, keep_states=True)  # neighbours are looked for among these portraits
    before = kept(tailed, "ada").select(STATE)
    online, again = Online(), Online()
    with monkeypatch.context() as patched:
        patched.setattr(recompute_chunk, "read_visible", lambda *_: pytest.fail("the events were read"))
        report = read_out(tailed, online, "ada", "bea")
    assert (report.users, report.events) == (2, 4)
    assert kept(tailed, "ada").select(STATE) == before
    assert packed(tailed, "ada") == pack(online.portraits["ada"])
    assert [near for near, _ in online.portraits["ada"].neighbours] == ["bea"]
    recompute_profiles(tailed, again, user_ids=["ada", "bea"], as_of=NOW, keep_states=True)
    for user in ("ada", "bea"):
        ours, theirs = online.portraits[user].readable(0), again.portraits[user].readable(0)
        assert ours.pop("as_of") < theirs.pop("as_of")
        for item in (*ours["recent_items"], *theirs["recent_items"]):
            item["weight"] = round(item["weight"], 3)  # of the moment, as they fade
        assert ours == theirs
        assert online.portraits[user].neighbours == again.portraits[user].neighbours


def test_who_has_no_state_or_one_that_cannot_be_read_is_computed_from_events(tailed: Engine) -> None:
    with transaction(tailed) as connection:
        connection.execute(text("UPDATE user_states SET totals = 'x' WHERE user_id = 'ada'"))
        connection.execute(text("DELETE FROM user_states WHERE user_id = 'bea'"))
    online = Online()
    assert read_out(tailed, online, "ada", "bea").users == 2
    assert {item.item_id for item in online.portraits["ada"].recent_items} == {"lips-1", "lips-2"}
    assert {item.item_id for item in online.portraits["bea"].recent_items} == {"lips-1", "nails-1"}


def test_a_state_that_moved_on_meanwhile_keeps_its_portrait_online_too(
    tailed: Engine, database: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recompute_chunk.write_read_outs

    def late(connection: object, table: object) -> set[str]:
        add(tailed, ("a3", "ada", "serum-1", "click", NOW + timedelta(seconds=1)))
        with tailing(database.sqlalchemy_url) as tail:
            settle(tail)
        return real(connection, table)

    monkeypatch.setattr(recompute_chunk, "write_read_outs", late)
    online = Online()
    read_out(tailed, online, "ada", "bea")
    assert unpack(packed(tailed, "ada")).recent_items[0].item_id == "serum-1"
    assert set(online.portraits) == {"bea"}  # an older portrait of ada may be as of a later time, and would stay
