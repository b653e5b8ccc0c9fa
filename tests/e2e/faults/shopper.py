"""One caller for tests: sends events, looks at portraits, and waits until what was sent is seen."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from tests.e2e.faults.load import Caller, make_event
from tests.e2e.faults.stack import FaultStack, eventually


class Shopper:
    """A user of a stack. Ids of its events are unique to it."""

    def __init__(self, stack: FaultStack, user: str) -> None:
        self.stack, self.user = stack, user
        self.sent: list[str] = []
        self._caller = Caller(stack.port)
        self._prefix = f"{user}-{time.time_ns():x}"

    def click(self, item: str, at: datetime | None = None) -> dict[str, Any]:
        """A click that is not sent yet."""
        event_id = f"{self._prefix}-{len(self.sent)}"
        self.sent.append(event_id)
        return make_event(event_id, self.user, item, "click", at or datetime.now(UTC))

    def post(self, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send events once: status and answer ({} where it is no JSON)."""
        return self._ask("POST", "/v1/events", {"events": list(events)})

    def page(self, count: int = 5) -> tuple[int, dict[str, Any]]:
        """Ask for recommendations."""
        return self._ask("POST", "/v1/recommendations", {"user_id": self.user, "count": count})

    def recent(self) -> list[str]:
        """The recent items of the portrait; [] where it cannot be read."""
        _, answer = self._ask("GET", f"/v1/users/{self.user}/profile")
        return [entry["item_id"] for entry in answer.get("recent_items", [])]

    def settle(self, item: str, within_s: float = 60.0) -> None:
        """Click an item until that is acknowledged, and return when the portrait shows it."""
        event = self.click(item)
        eventually(lambda: self.post(event)[0] == 202 or None, "an acknowledged click", within_s)
        self.sees(item, within_s)

    def sees(self, item: str, within_s: float = 60.0) -> None:
        """Return when the portrait's newest item is this one."""
        eventually(lambda: self.recent()[:1] == [item] or None, f"{item} in the portrait of {self.user}", within_s)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        status, answer = self._caller.ask(method, path, None if body is None else json.dumps(body).encode())
        try:
            return status, json.loads(answer) if answer else {}
        except ValueError:
            return status, {}
