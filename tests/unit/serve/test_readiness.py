import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from gateway_parts import Store, client_of, state_of

from services.core.errors import DependencyDown
from services.serve.application import build_app
from services.serve.shared_probe import KEPT_S, SharedProbe


class Database:
    """PostgreSQL as far as a probe needs it: says how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None

    async def run(self, work: object) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def state(tmp_path: Path, store: Store, database: Database) -> SimpleNamespace:
    found = state_of(tmp_path, store)
    found.database = database
    return found


def test_many_who_ask_for_readiness_share_one_question(state: SimpleNamespace, store: Store, database: Database):
    client = client_of(build_app(state))

    async def scenario() -> list[int]:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(scenario()) == [200] * 20
    assert (database.asked, store.reads) == (1, 1)


def test_readiness_says_which_server_does_not_answer(state: SimpleNamespace, database: Database):
    database.failure = DependencyDown("gone")
    answer = asyncio.run(client_of(build_app(state)).get("/readyz"))
    assert (answer.status_code, answer.json()["checks"]["postgres"]) == (503, "does not answer")
    assert answer.json()["checks"]["online_store"] == "ok"


def test_an_answer_stands_for_a_second_and_a_failure_for_no_time():
    clock, answers = [0.0], iter([1, ValueError("no answer"), 2])

    async def ask() -> int:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    async def scenario() -> list[int]:
        probe = SharedProbe(ask, lambda: clock[0])
        found = [await probe.get(), await probe.get()]
        clock[0] += KEPT_S
        with pytest.raises(ValueError, match="no answer"):
            await probe.get()
        return [*found, await probe.get()]

    assert asyncio.run(scenario()) == [1, 1, 2]


def test_a_caller_who_leaves_takes_nobodys_answer_away():
    async def scenario() -> int:
        release = asyncio.Event()

        async def ask() -> int:
            await release.wait()
            return 1

        probe = SharedProbe(ask)
        leaving, staying = asyncio.create_task(probe.get()), asyncio.create_task(probe.get())
        await asyncio.sleep(0)
        leaving.cancel()
        release.set()
        return await staying

    assert asyncio.run(scenario()) == 1
