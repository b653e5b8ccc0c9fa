"""What a user asked last: read once, kept up by what is asked meanwhile, and never waited for long."""

import asyncio

import pytest

from services.core.errors import DependencyDown
from services.serve.recent_queries import FRESH_S, RecentQueries

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Stored:
    """PostgreSQL's part, which can be slow or down."""

    def __init__(self, *queries: str) -> None:
        self.queries, self.reads = list(queries), 0
        self.open = asyncio.Event()
        self.open.set()
        self.down = self.refused = False

    async def __call__(self, user_id: str) -> list[str] | None:
        self.reads += 1
        await self.open.wait()
        if self.down:
            raise DependencyDown("away")
        return None if self.refused else self.queries


async def test_what_was_stored_is_read_once_and_what_is_asked_comes_first():
    now = [0.0]
    stored = Stored("rug", "lamp")
    recent = RecentQueries(stored, lambda: now[0])
    assert await recent.of("ada") == ["rug", "lamp"]
    recent.asked("ada", "lamp")
    assert await recent.of("ada") == ["lamp", "rug"]
    assert stored.reads == 1
    now[0], stored.queries = FRESH_S, ["sofa", "rug"]
    assert await recent.of("ada") == ["lamp", "rug", "sofa"]
    assert stored.reads == 2


async def test_what_a_user_has_asked_before_anything_was_read_counts_too():
    recent = RecentQueries(Stored("rug"))
    recent.asked("ada", "lamp")
    assert await recent.of("ada") == ["lamp", "rug"]


async def test_a_slow_database_is_not_waited_for():
    stored = Stored("rug")
    stored.open.clear()
    recent = RecentQueries(stored)
    assert await recent.of("ada") == []
    stored.open.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await recent.of("ada") == ["rug"]
    assert stored.reads == 1


async def test_without_the_database_what_was_known_stays():
    now = [0.0]
    stored = Stored("rug")
    recent = RecentQueries(stored, lambda: now[0])
    await recent.of("ada")
    now[0], stored.down = FRESH_S, True
    assert await recent.of("ada") == ["rug"]


async def test_who_refused_gets_nothing_however_it_was_learned():
    now = [0.0]
    stored = Stored("rug")
    recent = RecentQueries(stored, lambda: now[0])
    stored.refused = True
    recent.asked("ada", "lamp")
    assert await recent.of("ada") == []
    recent.asked("ada", "sofa")
    assert await recent.of("ada") == [] and stored.reads == 1
    now[0], stored.refused = FRESH_S, False
    assert await recent.of("ada") == ["rug"]
    now[0], stored.refused = 2 * FRESH_S, True
    stored.open.clear()
    assert await recent.of("ada") == []


async def test_nothing_is_shown_before_it_is_known_whether_the_user_refused():
    stored = Stored("rug")
    stored.down = True
    recent = RecentQueries(stored)
    recent.asked("ada", "lamp")
    assert await recent.of("ada") == []


async def test_a_refusal_counts_at_once_also_against_a_read_under_way():
    stored = Stored("rug")
    recent = RecentQueries(stored)
    assert await recent.of("ada") == ["rug"]
    stored.refused = True
    recent.forget("ada")
    assert await recent.of("ada") == []
    stored.refused = False
    recent.forget("ada")
    stored.open.clear()
    assert await recent.of("ada") == []
    recent.forget("ada")
    stored.refused = True
    stored.open.set()
    assert await recent.of("ada") == []
