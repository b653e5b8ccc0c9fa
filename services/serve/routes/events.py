"""`POST /v1/events`: a 202 means that the events are committed."""

import asyncio

from fastapi import FastAPI, Request, Response

from services.ingest.event_wire import WireEvent
from services.serve.answers import EventsAnswer
from services.serve.bodies import EVENTS_LIMIT, read_body
from services.serve.openapi import Describer
from services.serve.paths import EVENTS_PATH
from services.serve.respond import json_response
from services.serve.state import State


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the route."""
    counts = {outcome: state.metrics.events.labels(outcome) for outcome in ("accepted", "duplicate", "rejected")}

    async def accept(request: Request) -> Response:
        """Up to 1,000 events. Each stands alone: a bad one is listed under `rejected`, its neighbours are accepted."""
        body = await read_body(request, EVENTS_LIMIT)

        found = await asyncio.wrap_future(state.events.submit(body))
        for outcome, count in (
            ("accepted", found.accepted),
            ("duplicate", found.duplicates),
            ("rejected", len(found.rejected)),
        ):
            counts[outcome].inc(count)
        return json_response(found, 202)

    body = {
        "type": "object",
        "properties": {"events": {"type": "array", "items": describe.schema_of(WireEvent), "maxItems": 1_000}},
        "required": ["events"],
        "additionalProperties": False,
    }
    app.add_api_route(
        EVENTS_PATH,
        accept,
        methods=["POST"],
        **describe.route(body=body, answer=EventsAnswer, status=202, errors=(400, 413, 422, 503)),
    )
