"""The gateway as an ASGI application: FastAPI's router, our problem documents, our edge."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from services.serve import openapi, problems
from services.serve.admission import Gate
from services.serve.direct import DirectRoutes
from services.serve.edge import Edge
from services.serve.rate_limit import RateLimit
from services.serve.routes import events, items, jobs, operations, recommendations, search, users
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
    for resource in (recommendations, search, events, items, users, jobs, operations):
        resource.register(app, state, describe)
    problems.install(app)
    openapi.install(app, describe, needs_key=bool(state.settings.keys))
    rate = state.settings.rate_limit
    limit = None if rate is None else RateLimit(rate)
    return Edge(DirectRoutes(app), state.settings.keys, state.metrics, Gate(), limit)
