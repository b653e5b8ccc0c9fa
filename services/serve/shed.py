"""Answers to requests that are not let in: made once, sent in microseconds, nothing of them logged one by one."""

import math
from dataclasses import dataclass

import orjson
from starlette.types import Send

from services.core.errors import Overloaded, PortraitError, TooManyRequests
from services.serve.admission import Refusal
from services.serve.problems import MEDIA_TYPE

RETRY_AFTER_S = 1
RATE = "rate"

DETAILS = {
    Refusal.DELAY: "The gateway is asked more than it can answer in time",
    Refusal.READS: "Too many requests are being answered",
    Refusal.WRITES: "Too many writes are waiting for PostgreSQL",
    Refusal.BYTES: "The bodies of the writes under way fill the memory set aside for them",
}


@dataclass(frozen=True)
class ShedAnswer:
    """A whole answer, ready to be sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of(cls, error: PortraitError, retry_after_s: int) -> "ShedAnswer":
        error.extra["retry_after"] = retry_after_s
        body = orjson.dumps(error.problem())
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", str(retry_after_s).encode()),
        ]
        return cls(error.status, headers, body)

    async def send(self, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


OVERLOADED = {
    refusal: ShedAnswer.of(
        Overloaded(f"{said}: nothing was done for this request, send it again in a moment", reason=refusal.value),
        RETRY_AFTER_S,
    )
    for refusal, said in DETAILS.items()
}


def too_many(per_second: float, seconds: float) -> ShedAnswer:
    """The answer to a caller that asks more than `per_second`, and whose next request is welcome in `seconds`."""
    detail = f"This caller may ask {per_second:g} times a second (PORTRAIT_RATE_LIMIT): slow down and send this again"
    return ShedAnswer.of(TooManyRequests(detail, reason=RATE), max(1, math.ceil(seconds)))
