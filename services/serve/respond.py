"""Answers as JSON."""

from typing import Any

import msgspec
from starlette.responses import Response

_encoder = msgspec.json.Encoder()


def json_response(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Any struct or plain value as a JSON response."""
    return Response(_encoder.encode(answer), status, headers, media_type="application/json")


def server_timing(seconds: dict[str, float]) -> dict[str, str]:
    """The `Server-Timing` header of the stages, in milliseconds (W3C Server Timing)."""
    return {"server-timing": ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in seconds.items())}
