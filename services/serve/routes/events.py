"""`POST /v1/events`: a 202 means that the events are committed."""

from datetime import UTC, datetime

from fastapi import FastAPI, Request, Response

from services.db.events import insert_events
from services.ingest.event_wire import WireEvent
from services.ingest.events import parse_events
from services.serve.answers import EventsAnswer
from services.serve.bodies import EVENTS_LIMIT, read_body
from services.serve.openapi import Describer
from services.serve.respond import json_response
from services.serve.state import State


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the route."""

    async def accept(request: Request) -> Response:
        """Up to 1,000 events. Each stands alone: a bad one is listed under `rejected`, its neighbours are accepted."""
        body = await read_body(request, EVENTS_LIMIT)

        def store() -> dict[str, object]:
            batch = parse_events(body, datetime.now(UTC))
            counts = state.database.transact(lambda connection: insert_events(connection, batch.frame))
            return {"accepted": counts.accepted, "duplicates": counts.duplicates, "rejected": batch.rejected}

        answer = await state.database.call(store)
        for outcome, count in (
            ("accepted", answer["accepted"]),
            ("duplicate", answer["duplicates"]),
            ("rejected", len(answer["rejected"])),
        ):
            state.metrics.events.labels(outcome).inc(count)
        return json_response(answer, 202)

    body = {
        "type": "object",
        "properties": {"events": {"type": "array", "items": describe.schema_of(WireEvent), "maxItems": 1_000}},
        "required": ["events"],
        "additionalProperties": False,
    }
    app.add_api_route(
        "/v1/events",
        accept,
        methods=["POST"],
        **describe.route(body=body, answer=EventsAnswer, status=202, errors=(400, 413, 422, 503)),
    )
