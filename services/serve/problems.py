"""Failures as RFC 9457 problem details: one shape and a stable code for every error the gateway answers."""

import http
from uuid import uuid4

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.core.errors import PortraitError
from services.core.logging import get_logger

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
CODES = {404: "not-found", 405: "method-not-allowed"}

log = get_logger("gateway")


def problem_response(error: PortraitError) -> Response:
    """The answer to an expected failure. 429 and 503 tell when to try again."""
    headers = {"retry-after": str(error.extra.get("retry_after", RETRY_AFTER_S))} if error.status in (429, 503) else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status >= 500:
        log.warning("request-failed", code=error.code, detail=error.detail)
    return _response(error.problem(), error.status, headers)


def unexpected_response(error: Exception) -> Response:
    """The answer to a defect: an id that leads to the log line, and nothing of the inside."""
    error_id = uuid4().hex
    log.error("unexpected-error", error_id=error_id, exc_info=error)
    detail = f"Something went wrong inside the gateway; its log has the cause under error_id {error_id}"
    return _response(PortraitError(detail, error_id=error_id).problem(), 500, {})


def install(app: FastAPI) -> None:
    """Answer every failure of the application's routes as a problem."""
    app.add_exception_handler(PortraitError, _expected)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _unexpected)


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, PortraitError)
    return problem_response(error)


async def _unexpected(request: Request, error: Exception) -> Response:
    return unexpected_response(error)


async def _refused(request: Request, error: Exception) -> Response:
    """The framework's own refusals (no such path, wrong method) in the same shape."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    title = http.HTTPStatus(status).phrase
    allowed = (error.headers or {}).get("Allow")
    cures = {
        404: f"No such path: {request.url.path}. GET /openapi.json lists them all",
        405: f"{request.method} is not allowed here" + (f": use {allowed}" if allowed else ""),
    }
    code = CODES.get(status, f"http-{status}")
    body = {
        "type": f"urn:portrait:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": cures.get(status, str(error.detail)),
    }
    return _response(body, status, dict(error.headers or {}))


def _response(body: dict[str, object], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type=MEDIA_TYPE)
