"""Load that remembers what was promised to it: events sent until they are acknowledged, pages asked for, a probe."""

import http.client
import json
import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

TIMEOUT_S = 10.0
RETRY_S = 0.05
LATE_SHARE = 0.03
"""Of the events, those that happened up to two days before they are sent."""
AGAIN_SHARE = 0.05
"""Of the batches, those that are sent once more although they were acknowledged."""

SHED_CODES = frozenset({"overloaded"})

KINDS = ("view",) * 8 + ("click",) * 6 + ("search",) * 2 + ("cart", "purchase", "favourite", "rating", "hide")


class Caller:
    """One kept connection to the gateway. Not for several threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of the answer; status 0 when there was none."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            self._connection.request(method, path, body)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, b""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Ledger:
    """What was acknowledged, by user, and what went wrong in the acknowledgements themselves."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """Event id → user id."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers to batches of events; 0: none."""
    surprises: list[str] = field(default_factory=list)
    """Acknowledgements that cannot be right."""
    times: list[float] = field(default_factory=list)
    """When a 202 came, on the monotonic clock."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, status: int) -> None:
        with self.lock:
            self.statuses[status] += 1

    def promise(self, events: list[dict[str, Any]], answer: dict[str, Any], *, again: bool) -> None:
        """A 202 for these events."""
        with self.lock:
            self.times.append(time.monotonic())
            if answer["rejected"] or answer["accepted"] + answer["duplicates"] != len(events):
                self.surprises.append(f"{len(events)} events sent, answered {answer}")
            if again and answer["accepted"]:
                self.surprises.append(f"acknowledged events were accepted once more: {answer}")
            self.acknowledged.update({event["event_id"]: event["user_id"] for event in events})


class Worker(threading.Thread):
    """A thread that does one thing at a rate until it is stopped, and can be paused between two of them."""

    def __init__(self, name: str, per_second: float) -> None:
        super().__init__(name=name, daemon=True)
        self._interval = 1 / per_second
        self._stop_asked = threading.Event()
        self._paused = threading.Event()
        self._idle = threading.Event()

    def step(self) -> None:
        """One piece of work."""
        raise NotImplementedError

    @property
    def stopping(self) -> bool:
        return self._stop_asked.is_set()

    def pause(self, seconds: float = 120.0) -> None:
        """Return when no work is under way."""
        self._paused.set()
        assert self._idle.wait(seconds), f"{self.name} does not come to an end"

    def resume(self) -> None:
        self._idle.clear()
        self._paused.clear()

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(TIMEOUT_S + 5)

    def run(self) -> None:
        due = time.monotonic()
        while not self.stopping:
            if self._paused.is_set():
                self._idle.set()
                time.sleep(0.02)
                due = time.monotonic()
                continue
            self.step()
            due = max(due + self._interval, time.monotonic() - 1.0)  # what was missed for long is not made up for
            time.sleep(max(0.0, due - time.monotonic()))


class Writer(Worker):
    """Sends batches of new events, each until it is acknowledged."""

    def __init__(
        self, port: int, ledger: Ledger, users: list[str], items: list[str], *, seed: int, rate: float, batch: int = 10
    ) -> None:
        super().__init__(f"writer-{seed}", rate / batch)
        self._caller, self._ledger = Caller(port), ledger
        self._users, self._items, self._batch = users, items, batch
        self._random = random.Random(seed)
        self._prefix, self._count = f"w{seed}-{time.time_ns():x}", 0
        self._earlier: list[dict[str, Any]] = []

    def step(self) -> None:
        events = [self._event() for _ in range(self._batch)]
        self._send(events, again=False)
        if self._earlier and self._random.random() < AGAIN_SHARE:
            self._send(self._earlier, again=True)
        self._earlier = events

    def _send(self, events: list[dict[str, Any]], *, again: bool) -> None:
        body = json.dumps({"events": events}).encode()
        while not self.stopping:
            status, answer = self._caller.ask("POST", "/v1/events", body)
            self._ledger.note(status)
            if status == 202:
                self._ledger.promise(events, json.loads(answer), again=again)
                return
            time.sleep(RETRY_S)

    def _event(self) -> dict[str, Any]:
        self._count += 1
        ago = self._random.uniform(0, 2 * 86_400) if self._random.random() < LATE_SHARE else 0.0
        event = make_event(
            f"{self._prefix}-{self._count}",
            self._random.choice(self._users),
            self._random.choice(self._items),
            self._random.choice(KINDS),
            datetime.now(UTC) - timedelta(seconds=ago),
        )
        return event


@dataclass(frozen=True)
class Page:
    """An answer to a request for recommendations: when it came (monotonic), its status (0: none came), how long it
    took, whether it said `degraded`, and the code of a problem."""

    at: float
    status: int
    seconds: float
    degraded: bool
    code: str

    @property
    def shed(self) -> bool:
        """Refused because the machine is busy, which load from outside the stack can bring about."""
        return self.code in SHED_CODES


class Asker(Worker):
    """Asks for pages all the time."""

    def __init__(self, port: int, users: list[str], *, rate: float, seed: int = 1) -> None:
        super().__init__("asker", rate)
        self._caller, self._users, self._random = Caller(port), users, random.Random(seed)
        self.answers: list[Page] = []

    def step(self) -> None:
        body = json.dumps({"user_id": self._random.choice(self._users), "count": 10}).encode()
        began = time.monotonic()
        status, answer = self._caller.ask("POST", "/v1/recommendations", body)
        ended = time.monotonic()
        said = _document(answer)
        self.answers.append(
            Page(ended, status, ended - began, bool(said.get("degraded")), str(said.get("code", "") or ""))
        )

    def since(self, moment: float) -> list[Page]:
        return [page for page in list(self.answers) if page.at >= moment]


class Probe(Worker):
    """One user who clicks an item and looks at the portrait until the click is in it.

    `seen`: (sent, acknowledged, visible), monotonic seconds. Clicks that were not acknowledged are sent again.
    """

    def __init__(self, port: int, ledger: Ledger, user: str, items: list[str], *, every_s: float = 0.5) -> None:
        super().__init__("probe", 1 / every_s)
        self._caller, self._ledger, self._user, self._items = Caller(port), ledger, user, items
        self._prefix, self._count = f"probe-{time.time_ns():x}", 0
        self.seen: list[tuple[float, float, float]] = []

    def step(self) -> None:
        self._count += 1
        item = self._items[self._count % len(self._items)]
        event = make_event(f"{self._prefix}-{self._count}", self._user, item, "click", datetime.now(UTC))
        body, sent = json.dumps({"events": [event]}).encode(), time.monotonic()
        while not self.stopping:
            status, answer = self._caller.ask("POST", "/v1/events", body)
            self._ledger.note(status)
            if status == 202:
                break
            time.sleep(RETRY_S)
        else:
            return
        acknowledged = time.monotonic()
        self._ledger.promise([event], json.loads(answer), again=False)
        if self._poll(lambda profile: _holds(profile, item, event["timestamp"])):
            self.seen.append((sent, acknowledged, time.monotonic()))

    def _poll(self, shows: Callable[[dict[str, Any]], bool]) -> bool:
        while not self.stopping:
            status, answer = self._caller.ask("GET", f"/v1/users/{self._user}/profile")
            if status == 200 and shows(json.loads(answer)):
                return True
            time.sleep(0.02)
        return False


def make_event(event_id: str, user: str, item: str, kind: str, at: datetime) -> dict[str, Any]:
    """One event of the contract; the same arguments make the same event."""
    number = zlib.crc32(event_id.encode())
    properties: dict[str, Any] = {
        "view": {"dwell_ms": 12_000 + number % 20_000, "depth": 0.6},
        "click": {"position": number % 8},
        "cart": {"quantity": 1, "price": 19.5},
        "purchase": {"quantity": 1, "price": 19.5},
        "rating": {"rating": 1 + number % 5},
        "search": {"query": "a good one"},
    }.get(kind, {})
    event = {"event_id": event_id, "user_id": user, "type": kind, "timestamp": at.isoformat(), "properties": properties}
    return event if kind == "search" else {**event, "item_id": item}


def _holds(profile: dict[str, Any], item: str, timestamp: str) -> bool:
    moment = datetime.fromisoformat(timestamp).timestamp()
    return any(r["item_id"] == item and _seconds(r["timestamp"]) >= moment - 1e-3 for r in profile["recent_items"])


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(value: Any) -> float:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)
