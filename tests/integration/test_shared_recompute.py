"""A recompute of everybody that several processes share: every user once, whoever dies, calls or stops on the way."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from celery import Celery
from own_process import ROOT, apply_definitions, variables
from sqlalchemy import Engine, text
from tail_shop import DAY, NOW, Recorder, add, empty_shop

from services.core.addresses import Addresses
from services.core.settings import Settings
from services.core.types import JobKind
from services.db import jobs
from services.db.profiles import newest_packed
from services.db.recompute_runs import Standing, standing, taken_part
from services.db.session import make_engine, transaction
from services.features.portrait import unpack
from services.profiles.config import ProfileConfig
from services.profiles.recompute import recompute_profiles
from services.profiles.recompute_chunk import ChunkRecompute
from services.profiles.recompute_report import RecomputeReport
from services.profiles.shared_recompute import Help, help_with
from services.workers import queues

USERS = [f"user-{number:02d}" for number in range(24)]
ITEMS = ("lips-1", "lips-2", "nails-1", "serum-1")
SMALL = ProfileConfig(users_per_chunk=2, pool_users=3)
WITHIN_S = 90.0


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url, pool_size=8)
    empty_shop(made)
    with transaction(made) as connection:
        connection.execute(text("TRUNCATE recompute_runs, recompute_parts"))
    add(
        made,
        *(
            (f"{user}-{number}", user, ITEMS[(place + number) % len(ITEMS)], "purchase", NOW - (number + 1) * DAY)
            for place, user in enumerate(USERS)
            for number in range(1 + place % 3)
        ),
    )
    yield made
    made.dispose()


class Shop:
    """Recomputes everybody, and remembers who was called."""

    def __init__(self, engine: Engine, answer: Callable[[UUID], None] = lambda _: None) -> None:
        self.engine, self.answer, self.online = engine, answer, Recorder()
        self.called: list[UUID] = []

    def recompute(self, config: ProfileConfig = SMALL) -> RecomputeReport:
        return recompute_profiles(
            self.engine,
            self.online,
            as_of=NOW,
            config=config,
            keep_states=True,
            help_=Help("everybody", self.call),
        )

    def call(self, run_id: UUID) -> None:
        self.called.append(run_id)
        self.answer(run_id)

    def help(self, run_id: UUID, go_on: Callable[[], bool] = lambda: True) -> int:
        return help_with(self.engine, self.online, run_id, call=self.called.append, go_on=go_on, config=SMALL)

    def left(self) -> Standing:
        (run_id, *_) = self.called
        with transaction(self.engine) as connection:
            return standing(connection, run_id)


def test_everybody_is_computed_once_by_those_who_share(engine: Engine):
    shop = Shop(engine)
    helped: list[int] = []
    helper = threading.Thread(target=lambda: helped.append(shop.help(shop.called[0])))
    shop.answer = lambda _: helper.start()
    report = shop.recompute()
    helper.join(WITHIN_S)
    assert (report.users, report.events) == (len(USERS), 48)
    assert sorted(shop.online.portraits) == USERS
    assert shop.left() == Standing(0, 0, 0)
    assert len(helped) == 1


def test_shared_portraits_are_those_of_one_process(engine: Engine):
    def portraits() -> dict[str, dict]:
        with transaction(engine) as connection:
            found = {user: unpack(newest_packed(connection, user) or b"").readable(0) for user in USERS}
        for one in found.values():
            one.pop("as_of")  # the present, as recent weights are
            one["recent_items"] = [item["item_id"] for item in one["recent_items"]]
        return found

    shop = Shop(engine)
    shop.answer = lambda run_id: shop.help(run_id) and None
    assert shop.recompute().users == len(USERS)
    shared = portraits()
    recompute_profiles(engine, None, as_of=NOW + timedelta(seconds=1), config=SMALL, keep_states=True)
    assert portraits() == shared


def test_a_helper_calls_the_next_one_and_stops_when_it_is_told(engine: Engine):
    shop = Shop(engine)
    taken: list[int] = []
    shop.answer = lambda run_id: taken.append(shop.help(run_id, go_on=lambda: len(shop.online.portraits) < 4))
    report = shop.recompute()
    assert taken == [2]
    assert shop.called[0] == shop.called[1]
    assert report.users == len(USERS)


def test_a_part_whose_process_dies_is_taken_again(engine: Engine, database: Addresses):
    shop = Shop(engine)
    held_back = (
        "import sys; from uuid import UUID; from services.db.session import make_engine\n"
        "from services.db.recompute_runs import taken_part\n"
        "with taken_part(make_engine(sys.argv[1]), UUID(sys.argv[2])) as part:\n"
        "    print(*part.user_ids, flush=True); sys.stdin.read()\n"
    )
    dying: list[subprocess.Popen] = []

    def take_and_die_later(run_id: UUID) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", held_back, database.sqlalchemy_url, str(run_id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout is not None and process.stdout.readline().split() == USERS[:2]
        dying.append(process)
        threading.Timer(2.0, process.kill).start()

    shop.answer = take_and_die_later
    began = time.monotonic()
    report = shop.recompute()
    assert time.monotonic() - began >= 1.5, "the part was in nobody's hands"
    dying[0].wait(WITHIN_S)
    assert report.users == len(USERS)
    assert sorted(shop.online.portraits) == USERS


class CutShort(BaseException):
    """As a process that is killed: nothing after it runs."""


def test_a_run_that_was_cut_short_is_gone_on_with(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    real = ChunkRecompute.chunk
    computed: list[str] = []

    def dies_at_the_fifth(self: ChunkRecompute, user_ids: list[str], *rest: object) -> None:
        if len(computed) == 8:
            raise CutShort
        computed.extend(user_ids)
        real(self, user_ids, *rest)

    shop = Shop(engine)
    with monkeypatch.context() as patched, pytest.raises(CutShort):
        patched.setattr(ChunkRecompute, "chunk", dies_at_the_fifth)
        shop.recompute()
    assert (len(computed), shop.left().open_parts) == (8, 8)
    second = Shop(engine)
    report = second.recompute()
    assert report.users == len(USERS)
    assert sorted(second.online.portraits) == USERS[8:]
    assert second.called == shop.called


def test_a_run_under_another_reference_begins_anew(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    shop = Shop(engine)
    with monkeypatch.context() as patched, pytest.raises(CutShort):
        patched.setattr(ChunkRecompute, "chunk", lambda *_: (_ for _ in ()).throw(CutShort))
        shop.recompute()
    with transaction(engine) as connection:
        connection.execute(text("UPDATE recompute_runs SET reference_version = reference_version + 1"))
    second = Shop(engine)
    assert second.recompute().users == len(USERS)
    assert second.called != shop.called
    assert sorted(second.online.portraits) == USERS


def test_a_failure_ends_the_run_for_all(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise ValueError("these events cannot be computed")

    shop = Shop(engine)
    with monkeypatch.context() as patched, pytest.raises(ValueError, match="cannot be computed"):
        patched.setattr(ChunkRecompute, "chunk", fails)
        shop.recompute()
    assert shop.help(shop.called[0]) == 0
    assert shop.left() == Standing(0, 0, 0)


def test_few_users_are_not_shared(engine: Engine):
    shop = Shop(engine)
    assert shop.recompute(ProfileConfig(users_per_chunk=2, pool_users=12)).users == len(USERS)
    assert shop.called == []


def test_nobody_helps_where_less_is_left_than_helping_costs(engine: Engine):
    shop = Shop(engine)
    left: list[int] = []

    def late(run_id: UUID) -> None:
        for _ in range(11):
            with taken_part(engine, run_id) as part:
                assert part is not None
                part.report = {**RecomputeReport(users=2).as_dict(), "process": "another"}
        left.append(shop.help(run_id))

    shop.answer = late
    report = shop.recompute()
    assert left == [0]
    assert (report.users, report.processes) == (len(USERS), 2)


def test_free_workers_of_the_queue_join(engine: Engine, database_settings: Settings, database: Addresses, tmp_path):
    """Two Celery workers: one runs the job, the other hears its call."""
    apply_definitions(database_settings)
    environment = variables(database_settings) | {"PORTRAIT_BROKER_URL": database.broker_url}
    small = (
        "import sys, services.workers.handlers as h; from services.profiles.config import ProfileConfig\n"
        "h.BESIDE_THE_TAIL = ProfileConfig(users_per_chunk=1, pool_users=3)\n"
        "from services.workers.app import app; app.worker_main(sys.argv[1:])\n"
    )
    options = ("worker", "-Q", queues.CPU, "--concurrency", "1", "--loglevel", "INFO", "--prefetch-multiplier", "1")
    with (tmp_path / "workers.log").open("w") as log:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", small, *options, "-n", f"shares-{number}@test"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
            for number in range(2)
        ]
        try:
            celery = Celery("asks", broker=database.broker_url, set_as_current=False)
            until = time.monotonic() + WITHIN_S
            while (done := asked_and_done(engine, celery))["processes"] < 2:  # a worker's first task loads much
                assert time.monotonic() < until, (tmp_path / "workers.log").read_text()[-3000:]
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(timeout=60)
    assert done["users"] == len(USERS)


def asked_and_done(engine: Engine, celery: Celery) -> dict:
    with transaction(engine) as connection:
        job, _ = jobs.request_job(connection, JobKind.PROFILES.value, {})
    celery.send_task(queues.RUN_JOB, args=(str(job),), queue=queues.CPU)
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        with transaction(engine) as connection:
            found = jobs.get_job(connection, job)
        assert found is not None and found.status != "failed", found
        if found.status == "done":
            assert found.result is not None
            return found.result
        time.sleep(0.2)
    raise AssertionError("the job has not ended")
