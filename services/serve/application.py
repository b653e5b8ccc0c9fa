"""The gateway as an ASGI application: FastAPI's router, our problem documents, our edge."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.core.errors import PortraitError
from services.serve import openapi
from services.serve.edge import Edge
from services.serve.problems import http_exception_response, problem_response
from services.serve.routes import events, items, jobs, operations, recommendations, users
from services.serve.state import State

DESCRIPTION = (
    "User portraits and personalised recommendations. Every error is an RFC 9457 problem with a stable `code`."
)
VERSION = "0.1.0"


def build_app(state: State) -> ASGIApp:
    """The whole application over the process's wiring."""
    app = FastAPI(
        title="Portrait", version=VERSION, description=DESCRIPTION, openapi_url=None, docs_url=None, redoc_url=None
    )
    app.router.redirect_slashes = False
    describe = openapi.Describer()
    for resource in (recommendations, events, items, users, jobs, operations):
        resource.register(app, state, describe)
    app.add_exception_handler(PortraitError, _expected)
    app.add_exception_handler(HTTPException, http_exception_response)
    openapi.install(app, describe, needs_key=bool(state.settings.keys))
    return Edge(app, state.settings.keys, state.metrics)


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, PortraitError)
    return problem_response(error)
