"""Whole imports on a real PostgreSQL: counted, repeatable, and all or nothing."""

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from services.cli.main import build_app
from services.core.addresses import Addresses
from services.core.errors import ImportFailed
from services.core.settings import get_settings
from services.db.events import count_events, insert_events, read_events
from services.db.items import get_item
from services.db.session import make_engine, raw, transaction
from services.ingest.import_file import Progress, import_file
from services.ingest.importers.base import ImportOptions
from services.ingest.rules.names import Rule

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def module_engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    with transaction(module_engine) as connection:
        raw(connection).execute("TRUNCATE events, event_keys, items")
    return module_engine


def stored(engine: Engine) -> int:
    with transaction(engine) as connection:
        return count_events(connection)


def line(n: int, **changes: object) -> str:
    event = {"event_id": f"e{n}", "user_id": f"u{n % 7}", "item_id": "i", "type": "favourite"}
    return json.dumps({**event, "timestamp": "2026-01-01T00:00:00Z", **changes}) + "\n"


def write(folder: Path, *lines: str, name: str = "events.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(lines))
    return path


def test_rows_are_stored_rejected_and_counted(engine, tmp_path):
    path = write(
        tmp_path,
        line(1),
        line(1),
        "not json\n",
        line(2, timestamp="2030-01-01T00:00:00Z"),
        line(3, type="view", properties={"dwell_ms": -5}),
        line(4, type="review", properties={"text": "<b>good</b>"}),
    )
    report = import_file(engine, path, kind="events", rejects=tmp_path / "rejects.jsonl", now=NOW)
    assert (report.format, report.rows, report.records) == ("jsonl", 6, 6)
    assert (report.events.accepted, report.events.duplicates, report.events.unknown_items) == (2, 1, 2)
    assert report.rules == {Rule.MALFORMED: 1, Rule.IMPOSSIBLE: 2, Rule.DUPLICATE: 1, Rule.TEXT_CLEANED: 1}
    rejects = [json.loads(text) for text in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [(r["row"], r["rule"], r["code"]) for r in rejects] == [
        (3, "malformed", "unreadable"),
        (4, "impossible", "timestamp-future"),
        (5, "impossible", "dwell-ms-range"),
    ]
    assert rejects[0]["original"] == "not json"
    assert all(r["file"] == str(path) and r["message"] for r in rejects)


def test_the_same_file_twice_stores_nothing_new(engine, tmp_path):
    path = write(tmp_path, "u1 a b c\nu2 a\n", name="sequences.txt")
    first = import_file(engine, path, kind="events", format="user-sequences")
    second = import_file(engine, path, kind="events", format="user-sequences")
    assert (first.events.accepted, second.events.accepted, second.events.duplicates) == (4, 0, 4)
    assert stored(engine) == 4


def test_two_imports_of_the_same_file_at_once_count_once(engine, tmp_path):
    path = write(tmp_path, *(line(n) for n in range(3_000)))
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(import_file(engine, path, kind="events", now=NOW)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.events.accepted for report in reports) == [0, 3_000]
    assert stored(engine) == 3_000


def test_a_truncated_gzip_stores_nothing(engine, tmp_path):
    path = tmp_path / "events.jsonl.gz"
    data = gzip.compress("".join(line(n) for n in range(60_000)).encode(), 1)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImportFailed, match=r"the gzip stream ends early.*rows were read; nothing was stored"):
        import_file(engine, path, kind="events", rejects=tmp_path / "rejects.jsonl", now=NOW)
    assert stored(engine) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.jsonl.gz"]


def test_a_file_of_which_no_row_is_good_fails_with_the_first_problem(engine, tmp_path):
    path = write(tmp_path, line(1, user_id=5), line(2, user_id=6))
    with pytest.raises(ImportFailed, match=r"none of its 2 records could be imported.*row 1: user_id must be a string"):
        import_file(engine, path, kind="events", now=NOW)


def test_a_header_without_rows_fails(engine, tmp_path):
    path = write(tmp_path, "user_id,item_id,type,timestamp\n", name="events.csv")
    with pytest.raises(ImportFailed, match="no rows"):
        import_file(engine, path, kind="events")


def test_a_robots_events_are_taken_back_and_its_ids_freed(engine, tmp_path):
    def view(n: int, user: str, second: int) -> str:
        at = f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
        return line(n, user_id=user, type="view", timestamp=at, properties={"dwell_ms": 900})

    machine = [view(n, "bot", n * 2) for n in range(300)]
    people = [view(1_000 + n, f"person{n}", n * 7) for n in range(20)]
    path = write(tmp_path, *machine, *people)
    report = import_file(engine, path, kind="events", now=NOW)
    assert (report.events.accepted, report.rules[Rule.ROBOT], report.robots) == (20, 300, 1)
    assert stored(engine) == 20
    kept = import_file(engine, path, kind="events", now=NOW, options=ImportOptions(keep_robots=True))
    assert (kept.events.accepted, kept.events.duplicates) == (300, 20)


def test_what_was_stored_before_is_not_taken_back(engine, tmp_path, monkeypatch):
    before = write(tmp_path, line(1, user_id="bot"), name="before.jsonl")
    import_file(engine, before, kind="events", now=NOW)
    times = [f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z" for n in range(300)]
    views = [line(10 + n, user_id="bot", type="view", timestamp=time) for n, time in enumerate(times)]
    monkeypatch.setattr("services.ingest.import_file.CHUNK_ROWS", 50)  # so that the robot is found out late
    report = import_file(engine, write(tmp_path, *views), kind="events", now=NOW)
    assert (report.events.accepted, report.rules[Rule.ROBOT]) == (0, 300)
    with transaction(engine) as connection:
        assert read_events(connection, columns=["event_id"])["event_id"].to_pylist() == ["e1"]


def test_items_are_inserted_updated_and_left(engine, tmp_path):
    header = "item_id,title,price,categories\n"
    first = import_file(engine, write(tmp_path, header, "a,Lamp,$5,x|y\nb,Sofa,7,\n", name="i.csv"), kind="items")
    again = write(tmp_path, header, 'a,Lamp,5,x|y\nb,"<b>Big</b> sofa",7,\n,nothing,1,\nc,,1,\n', name="i.csv")
    second = import_file(engine, again, kind="items")
    assert (first.items.inserted, second.items.updated, second.items.unchanged, second.rejected) == (2, 1, 1, 2)
    with transaction(engine) as connection:
        assert get_item(connection, "b")["title"] == "Big sofa"
        assert get_item(connection, "a")["categories"] == ["x", "y"]


def test_progress_ends_with_the_whole_file(engine, tmp_path):
    path = write(tmp_path, *(line(n) for n in range(100)))
    seen: list[Progress] = []
    import_file(engine, path, kind="events", now=NOW, on_progress=seen.append)
    assert seen[-1] == Progress(path.stat().st_size, path.stat().st_size, 100)


def test_an_interrupted_import_stores_nothing(engine, tmp_path, monkeypatch):
    path = write(tmp_path, *(line(n) for n in range(100)))
    monkeypatch.setattr("services.ingest.import_file.CHUNK_ROWS", 10)
    calls = []

    def fail_late(connection, frame):
        calls.append(frame)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return insert_events(connection, frame)

    monkeypatch.setattr("services.ingest.import_file.insert_events", fail_late)
    with pytest.raises(KeyboardInterrupt):
        import_file(engine, path, kind="events", now=NOW)
    assert stored(engine) == 0


def test_the_real_beauty_files(engine, test_data):
    folder = test_data / "amazon-beauty-2014"
    items = import_file(engine, folder / "items.tsv.gz", kind="items")
    assert (items.items.inserted, items.rules[Rule.MALFORMED]) == (12_101, 0)
    events = import_file(engine, folder / "user_sequence.txt.gz", kind="events")
    assert (events.events.accepted, events.events.unknown_items) == (198_502, 0)
    assert +events.rules == {Rule.TIME_SYNTHETIC: 198_502}


@pytest.fixture
def portrait(engine: Engine, database: Addresses, home: Path, monkeypatch: pytest.MonkeyPatch):
    """`portrait …` in this process, on the module's database."""
    monkeypatch.setenv("PORTRAIT_HOME", str(home))
    monkeypatch.setenv("PORTRAIT_DATABASE_URL", database.database_url)
    monkeypatch.setenv("PORTRAIT_REDIS_URL", database.redis_url)
    get_settings.cache_clear()
    runner = CliRunner()
    yield lambda *arguments: runner.invoke(build_app(), ["import", *map(str, arguments)])
    get_settings.cache_clear()


def test_the_command_prints_counts_as_json(portrait, engine, tmp_path):
    path = write(tmp_path, "u,i,good,5,1700000000\nu,j,bad,1,1700000100\n", name="reviews.csv")
    result = portrait(
        "events", path, "--no-header", "--map", "user_id=0,item_id=1,text=2", "--map", "rating=3,timestamp=4",
        "--type", "review", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["accepted"] == 2


def test_the_command_prints_a_table_of_rules(portrait, engine, tmp_path):
    result = portrait("events", write(tmp_path, line(1), line(2, timestamp="2990-01-01T00:00:00Z")))
    assert result.exit_code == 0
    assert "impossible" in result.stdout
    assert "row 2: timestamp is more than 5 minutes ahead" in result.stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty"),
        ("header.csv", b"a,b\n1,2\n", "has no column user_id"),
        ("zip.csv", b"PK\x03\x04xxxx", "zip archive: unpack it"),
        ("cut.gz", gzip.compress(b"user_id,item_id\n" * 99, mtime=0)[:-9], "cut off"),
        ("bytes.csv", b"user_id,item_id,type,timestamp\nu,i,view,1700000000\n\xff,i,view,1\n", "row 3 is not utf-8"),
    ],
)
def test_a_broken_file_is_a_named_failure(portrait, engine, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    result = portrait("events", path)
    assert isinstance(result.exception, ImportFailed)
    assert message in result.exception.detail
    assert str(path) in result.exception.detail
    assert stored(engine) == 0
