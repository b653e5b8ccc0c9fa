"""`POST /v1/recompute` and `GET /v1/jobs/{id}`: background work, asked for and watched."""

from typing import Any
from uuid import UUID

import msgspec
from fastapi import FastAPI, Request, Response

from services.core.errors import InvalidInput, NotFound
from services.core.types import JobKind
from services.db.jobs import get_job, request_job
from services.serve.answers import JobAccepted, JobAnswer, RecomputeRequest
from services.serve.bodies import check_id, decode, read_body
from services.serve.openapi import Describer
from services.serve.respond import json_response
from services.serve.state import State

RECOMPUTE = msgspec.json.Decoder(RecomputeRequest)


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the routes."""

    async def recompute(request: Request) -> Response:
        """Ask for background work. The same work asked for while it is under way joins it."""
        wanted = decode(RECOMPUTE, await read_body(request))
        parameters = _parameters(wanted)
        what = wanted.what.value
        job_id, created = await state.database.run(lambda connection: request_job(connection, what, parameters))
        if created:
            await state.database.call(lambda: state.dispatcher.enqueue(job_id, what))
        return json_response(JobAccepted(job_id, created), 202)

    async def job(request: Request) -> Response:
        """How a job stands."""
        job_id = _job_id(request.path_params["job_id"])
        found = await state.database.run(lambda connection: get_job(connection, job_id))
        if found is None:
            raise NotFound(f"No job {job_id}: POST /v1/recompute answers the ids of jobs")
        return json_response(msgspec.convert(found, JobAnswer, from_attributes=True))

    app.add_api_route(
        "/v1/recompute",
        recompute,
        methods=["POST"],
        **describe.route(body=RecomputeRequest, answer=JobAccepted, status=202, errors=(400, 413, 422, 503)),
    )
    app.add_api_route(
        "/v1/jobs/{job_id}",
        job,
        methods=["GET"],
        **describe.route(path=("job_id",), answer=JobAnswer, errors=(404, 503)),
    )


def _parameters(wanted: RecomputeRequest) -> dict[str, Any]:
    if wanted.user_ids is None:
        return {}
    if wanted.what is not JobKind.PROFILES:
        raise InvalidInput(f"`user_ids` narrows `profiles` only: leave it out for `{wanted.what}`", field="user_ids")
    return {"user_ids": sorted({check_id(user_id, "user_ids") for user_id in wanted.user_ids})}


def _job_id(text: str) -> UUID:
    """Raises NotFound for what cannot be the id of a job."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("No such job: POST /v1/recompute answers the ids of jobs") from error
