"""Users: `PUT /v1/users/{id}`, `GET /v1/users/{id}/profile`, `GET /v1/users/{id}/similar`."""

import time
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response
from sqlalchemy import Connection

from services.core.errors import DependencyDown
from services.core.types import JobKind
from services.db.jobs import request_job
from services.db.users import upsert_user
from services.features.online.reader import FeatureStatus
from services.features.portrait import Portrait, cold_portrait
from services.features.snapshot import ItemSnapshot
from services.ingest.catalogue import WireUser, parse_user
from services.serve.answers import ProfileAnswer, SimilarUser, SimilarUsersAnswer, UserAnswer
from services.serve.bodies import path_id, query_count, read_body
from services.serve.openapi import Describer, count_parameter
from services.serve.portraits import FAILURES
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
        if job is not None:
            await state.database.call(lambda: state.dispatcher.enqueue(job, JobKind.PROFILES.value))
        return json_response(UserAnswer(user_id, created), 201 if created else 200)

    async def profile(request: Request) -> Response:
        """The readable portrait. Nothing known of a user is a portrait too: a new one, of confidence 0."""
        user_id = path_id(request, "user_id")
        now = time.time()
        portrait = _portrait(state, user_id, now)
        readable = portrait.readable(now)
        readable["features"] = await state.database.call(lambda: _feature_statuses(state, user_id))
        serving = state.snapshots.serving
        if serving is not None:
            _name_items(readable, serving.snapshot)
        return json_response(readable)

    async def similar(request: Request) -> Response:
        """Users with a similar portrait, most alike first."""
        user_id = path_id(request, "user_id")
        count = query_count(request, DEFAULT_SIMILAR, MAX_SIMILAR)
        portrait = _portrait(state, user_id, time.time())
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


def _put(connection: Connection, user_id: str, user: WireUser) -> tuple[bool, UUID | None]:
    """Whether the user is new, and the job that makes or erases the portrait where consent was spoken of."""
    created = upsert_user(connection, user_id, attributes=user.attributes, consent=user.consent)
    if user.consent is None:
        return created, None
    job, is_new = request_job(connection, JobKind.PROFILES.value, {"user_ids": [user_id]})
    return created, job if is_new else None


def _portrait(state: State, user_id: str, now: float) -> Portrait:
    """The user's portrait; unlike a list of recommendations, a portrait cannot be answered without the store."""
    try:
        found = state.store.portrait(user_id)
    except FAILURES as error:
        raise DependencyDown("The online store does not answer: see `portrait doctor`") from error
    return cold_portrait(user_id, now) if found is None else found


def _feature_statuses(state: State, user_id: str) -> dict[str, FeatureStatus]:
    try:
        return state.store.feature_status(user_id)
    except FAILURES as error:
        raise DependencyDown("The online store does not answer: see `portrait doctor`") from error


def _name_items(readable: dict[str, Any], snapshot: ItemSnapshot) -> None:
    """Put titles beside the item ids that the snapshot knows."""
    for entry in readable["interests"] + readable["recent_items"]:
        index = snapshot.index_of(entry["item_id"])
        entry["title"] = snapshot.titles[index] if index >= 0 else None
