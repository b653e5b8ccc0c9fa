"""Users: `PUT` and `DELETE /v1/users/{id}`, `GET /v1/users/{id}/profile`, `GET /v1/users/{id}/similar`."""

import time
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response
from sqlalchemy import Connection

from services.core.types import JobKind
from services.db.jobs import request_job
from services.db.users import erase_user, upsert_user
from services.features.snapshot import ItemSnapshot
from services.ingest.catalogue import WireUser, parse_user
from services.serve.answers import ErasedUserAnswer, ProfileAnswer, SimilarUser, SimilarUsersAnswer, UserAnswer
from services.serve.bodies import path_id, query_count, read_body
from services.serve.openapi import Describer, count_parameter
from services.serve.respond import json_response
from services.serve.state import State

DEFAULT_SIMILAR, MAX_SIMILAR = 20, 100


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the routes."""

    async def put_user(request: Request) -> Response:
        """Attributes and consent; what is absent stays as it is. `personalisation: false` turns the portrait off."""
        user_id = path_id(request, "user_id")
        user = parse_user(await read_body(request))
        created, job = await state.database.run(lambda connection: _put(connection, user_id, user))
        if user.consent is not None:
            state.recent_queries.forget(user_id)
        if job is not None:
            await state.database.call(lambda: state.dispatcher.enqueue(job, JobKind.PROFILES.value))
        return json_response(UserAnswer(user_id, created), 201 if created else 200)

    async def delete_user(request: Request) -> Response:
        """Erase everything stored of a user: events, searches, impressions, attributes, and within moments the
        portrait. Nothing stored is an answer too: a repeated call finds nothing."""
        user_id = path_id(request, "user_id")
        rows = await state.database.run(lambda connection: erase_user(connection, user_id))
        state.recent_queries.forget(user_id)
        return json_response(ErasedUserAnswer(user_id, rows))

    async def profile(request: Request) -> Response:
        """The readable portrait. Nothing known of a user is a portrait too: a new one, of confidence 0."""
        user_id = path_id(request, "user_id")
        now = time.time()
        reading = state.portraits.show(user_id, now)
        readable = reading.portrait.readable(now)
        readable["features"] = state.portraits.feature_status(user_id)
        readable["degraded"] = reading.degraded
        serving = state.snapshots.serving
        if serving is not None:
            _name_items(readable, serving.snapshot)
        return json_response(readable)

    async def similar(request: Request) -> Response:
        """Users with a similar portrait, most alike first."""
        user_id = path_id(request, "user_id")
        count = query_count(request, DEFAULT_SIMILAR, MAX_SIMILAR)
        portrait = state.portraits.show(user_id, time.time()).portrait
        users = [SimilarUser(name, similarity) for name, similarity in portrait.neighbours[:count]]
        return json_response(SimilarUsersAnswer(user_id, users))

    put = describe.route(path=("user_id",), body=WireUser, answer=UserAnswer, errors=(400, 404, 413, 422, 503))
    put["openapi_extra"]["responses"]["201"] = {**put["openapi_extra"]["responses"]["200"], "description": "New"}
    app.add_api_route(
        "/v1/users/{user_id:path}/profile",
        profile,
        methods=["GET"],
        **describe.route(path=("user_id",), answer=ProfileAnswer, errors=(404, 422, 503)),
    )
    app.add_api_route(
        "/v1/users/{user_id:path}/similar",
        similar,
        methods=["GET"],
        **describe.route(
            path=("user_id",),
            query=(count_parameter(DEFAULT_SIMILAR, MAX_SIMILAR),),
            answer=SimilarUsersAnswer,
            errors=(404, 422, 503),
        ),
    )
    app.add_api_route("/v1/users/{user_id:path}", put_user, methods=["PUT"], **put)
    app.add_api_route(
        "/v1/users/{user_id:path}",
        delete_user,
        methods=["DELETE"],
        **describe.route(path=("user_id",), answer=ErasedUserAnswer, errors=(404, 422, 503)),
    )


def _put(connection: Connection, user_id: str, user: WireUser) -> tuple[bool, UUID | None]:
    """Whether the user is new, and the job that makes or erases the portrait where consent was spoken of."""
    created = upsert_user(connection, user_id, attributes=user.attributes, consent=user.consent)
    if user.consent is None:
        return created, None
    job, is_new = request_job(connection, JobKind.PROFILES.value, {"user_ids": [user_id]})
    return created, job if is_new else None


def _name_items(readable: dict[str, Any], snapshot: ItemSnapshot) -> None:
    """Put titles beside the item ids that the snapshot knows."""
    for entry in readable["interests"] + readable["recent_items"]:
        index = snapshot.index_of(entry["item_id"])
        entry["title"] = snapshot.titles[index] if index >= 0 else None
