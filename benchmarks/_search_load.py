"""Searches for `benchmarks.search_http`, sent by a process of its own.

`python -m benchmarks._search_load PORT CLIENTS SECONDS FILE` sends the queries of a JSON file in a loop; with SECONDS 0
each once, one after the other, and prints how each was answered. With a last argument `suggest` it asks for the
completions of the file's texts instead, in a loop; with `anew` each search has a filter that lets everything through,
under which no query has been asked before.
"""

import asyncio
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks._http_load import load

USERS = 1_000


def user_id(at: int) -> str:
    """Who sends the request at this place of the file."""
    return f"user-{at % USERS:06d}"


def body(query: str, at: int, *, anew: bool = False) -> bytes:
    """One search of one of the users."""
    wanted = {"filter": {"available": None}} if anew else {}
    return json.dumps({"query": query, "user_id": user_id(at), "count": 20} | wanted).encode()


def raw_request(content: bytes) -> bytes:
    """The search as raw HTTP/1.1."""
    head = "POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(content)}\r\n\r\n".encode() + content


def raw_suggestion(typed: str, at: int) -> bytes:
    """The completions of what one of the users has typed, as raw HTTP/1.1."""
    return f"GET /v1/suggest?q={quote(typed)}&user_id={user_id(at)} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def once(port: int, queries: list[str], *, anew: bool = False) -> dict[str, Any]:
    """Each query once: latencies in milliseconds, by how its vector came, and median stages."""
    spent: dict[str, list[float]] = {}
    stages: dict[str, list[float]] = {}
    for at, query in enumerate(queries):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/search", body(query, at, anew=anew))
        request.add_header("content-type", "application/json")
        began = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            found = json.loads(answer.read())
            milliseconds = (time.perf_counter() - began) * 1000
            timing = answer.headers["server-timing"]
        spent.setdefault(found["query_vector"], []).append(milliseconds)
        for stage in timing.split(", "):
            name, _, duration = stage.partition(";dur=")
            stages.setdefault(name, []).append(float(duration))
    return {
        "outcomes": {name: len(values) for name, values in spent.items()},
        "p50_ms": {name: round(float(np.median(values)), 3) for name, values in spent.items()},
        "p99_ms": {name: round(float(np.percentile(values, 99)), 3) for name, values in spent.items()},
        "stages": {name: round(float(np.median(values)), 3) for name, values in stages.items()},
    }


if __name__ == "__main__":
    port, clients, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    asked = json.loads(Path(sys.argv[4]).read_text())
    if seconds:
        suggest = sys.argv[5:] == ["suggest"]
        requests = [
            raw_suggestion(text, at) if suggest else raw_request(body(text, at)) for at, text in enumerate(asked)
        ]
        print(json.dumps(asyncio.run(load(port, clients, seconds, requests))))
    else:
        print(json.dumps(once(port, asked, anew=sys.argv[5:] == ["anew"])))
