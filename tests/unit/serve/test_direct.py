"""The hot paths go straight to their handlers; everything else to the framework."""

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.requests import Request
from starlette.responses import Response

from services.serve.direct import DirectRoutes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_hot_path_is_answered_without_the_framework_and_others_with_it():
    app, by_framework = FastAPI(), []

    async def echo(request: Request) -> Response:
        return Response(await request.body() or request.query_params.get("q", "").encode(), 200)

    async def named(request: Request) -> Response:
        return Response(f"{request.path_params['user_id']} by {request.scope['route'].path}")

    app.add_api_route("/v1/rank", echo, methods=["POST"])
    app.add_api_route("/v1/suggest", echo, methods=["GET"])
    app.add_api_route("/v1/events", echo, methods=["POST"])
    app.add_api_route("/v1/users/{user_id:path}/profile", named, methods=["GET"])
    app.add_api_route("/v1/users/{user_id:path}", echo, methods=["PUT"])

    async def watched(scope, receive, send) -> None:
        by_framework.append((scope["method"], scope["path"]))
        await app(scope, receive, send)

    direct = DirectRoutes(app)
    direct._app = watched
    async with AsyncClient(transport=ASGITransport(app=direct), base_url="http://gateway") as client:
        assert (await client.post("/v1/rank", content=b"items")).text == "items"
        assert (await client.get("/v1/suggest", params={"q": "lamp"})).text == "lamp"
        assert (await client.post("/v1/events", content=b"e")).text == "e"
        for path in ("/v1/users/a%20b/profile", "/v1/users/a/b/profile"):
            name = path.removeprefix("/v1/users/").removesuffix("/profile").replace("%20", " ")
            assert (await client.get(path)).text == f"{name} by /v1/users/{{user_id:path}}/profile"
        assert by_framework == []
        assert (await client.put("/v1/users/profile", content=b"u")).text == "u"
        assert (await client.post("/v1/users/a/profile")).status_code == 405
        assert (await client.get("/v1/rank")).status_code == 405
        assert (await client.get("/v1/nothing")).status_code == 404
    assert by_framework == [
        ("PUT", "/v1/users/profile"),
        ("POST", "/v1/users/a/profile"),
        ("GET", "/v1/rank"),
        ("GET", "/v1/nothing"),
    ]
