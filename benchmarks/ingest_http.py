"""Claim: events come in over HTTP, 100 a request, at 0.3 or more of the rate at which one client COPYs the same rows.

    python -m benchmarks.ingest_http

Through the whole stack: a load generator in a process of its own (32 connections, each sending its next batch once the
last is answered 202), HAProxy, Ray Serve, checks, keys, partitions, indexes, a durable commit before every answer.
The yardstick is the most that COPY does, in the same run and on the same server: one client, all rows in one
transaction, already in COPY's text format, into a table with the same columns, defaults and indexes. The two are
measured in turns, three times each; the figure is the ratio of the medians. All of it shares the machine's cores.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from benchmarks._synthetic_shop import synthetic_snapshot
from benchmarks.import_events import event_line
from benchmarks.recommendations_http import _gateway, _home, _servers
from services.core.columns import EVENT_COLUMNS
from services.core.paths import HomePaths
from services.db.copy import as_frame, copy_csv, copy_lines_in, copy_out
from services.db.session import make_engine, raw, transaction

BAR, AIM = 0.3, 0.5
BATCH = 100
CLIENTS = 32
WARM_UP = 100
REQUESTS = 2_000
REPEATS = 3
COLUMNS = ("event_key", *EVENT_COLUMNS)


def run(requests: int = REQUESTS, clients: int = CLIENTS) -> dict[str, Any]:
    """The claim, measured: name, figure, bar, holds, figures."""
    with _home() as home, ExitStack() as stack:
        synthetic_snapshot(HomePaths(home).snapshots, 200)
        addresses = _servers(home, stack)
        engine = make_engine(addresses.sqlalchemy_url)
        stack.callback(engine.dispose)
        port = stack.enter_context(_gateway(home, addresses))
        files = [_write_requests(home / f"requests-{n}", n, requests) for n in range(REPEATS)]
        warm = _write_requests(home / "warm", REPEATS, WARM_UP)
        _send(port, clients, warm)
        sent, copied = [], []
        for file in files:
            _empty(engine)
            sent.append(_send(port, clients, file))
            copied.append(_bare_copy(engine))
        one = _send(port, 1, _write_requests(home / "one", REPEATS + 1, WARM_UP))
    return _answer(sent, copied, one, clients)


def _answer(sent: list[dict], copied: list[dict], one: dict, clients: int) -> dict[str, Any]:
    rate = statistics.median(turn["events_per_s"] for turn in sent)
    bare = statistics.median(turn["whole"] for turn in copied)
    ratio = round(rate / bare, 3)
    return {
        "name": "ingest_http",
        "figure": ratio,
        "bar": BAR,
        "holds": ratio >= BAR,
        "figures": {
            "aim": AIM,
            "events_per_s": rate,
            "events_per_s_turns": [turn["events_per_s"] for turn in sent],
            "bare_copy_per_s": bare,
            "bare_copy_per_s_turns": [turn["whole"] for turn in copied],
            "bare_copy_of_100_rows_per_s": statistics.median(turn["batches"] for turn in copied),
            "refused_requests": sum(turn["refused"] for turn in sent),
            "clients": clients,
            "events_per_request": BATCH,
            "p50_ms": statistics.median(turn["p50_ms"] for turn in sent),
            "p99_ms": statistics.median(turn["p99_ms"] for turn in sent),
            "one_client_events_per_s": one["events_per_s"],
            "one_client_p50_ms": one["p50_ms"],
            "one_client_p99_ms": one["p99_ms"],
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
        },
    }


def _write_requests(path: Path, seed: int, requests: int) -> Path:
    """A file of request bodies, one a line; event ids differ between seeds."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for n in range(requests):
            events = (event_line(seed * 10_000_000 + n * BATCH + i, draw).strip() for i in range(BATCH))
            file.write('{"events":[' + ",".join(events) + "]}\n")
    return path


def _send(port: int, clients: int, bodies: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._http_events", str(port), str(clients), str(bodies)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _empty(engine: Engine) -> None:
    with transaction(engine) as connection:
        raw(connection).execute("TRUNCATE events, event_keys")
    _checkpoint(engine)


def _checkpoint(engine: Engine) -> None:
    """Each turn begins with nothing left to write of the one before."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        raw(connection).execute("CHECKPOINT")


def _bare_copy(engine: Engine) -> dict[str, float]:
    """Rows a second of COPY of what was sent: in one transaction, and in a transaction for every 100 rows."""
    with transaction(engine) as connection:
        rows = as_frame(copy_out(connection, f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY sequence"))
    lines = str(copy_csv(rows), "utf-8").split("\n")[:-1]
    whole = _copy_lines(engine, lines, len(lines))
    part = lines[: len(lines) // 10]
    return {"whole": round(len(lines) / whole), "batches": round(len(part) / _copy_lines(engine, part, BATCH))}


def _copy_lines(engine: Engine, lines: list[str], size: int) -> float:
    with transaction(engine) as connection:
        raw(connection).execute("DROP TABLE IF EXISTS yardstick; CREATE TABLE yardstick (LIKE events INCLUDING ALL)")
    _checkpoint(engine)
    start = time.perf_counter()
    for at in range(0, len(lines), size):
        with transaction(engine) as connection:
            copy_lines_in(connection, "yardstick", COLUMNS, lines[at : at + size])
    seconds = time.perf_counter() - start
    with transaction(engine) as connection:
        raw(connection).execute("DROP TABLE yardstick")
    return seconds


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
