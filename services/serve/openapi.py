"""The OpenAPI document, drawn from the very structs that decode and encode: what it says is what happens."""

from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from services.serve import answers
from services.serve.paths import OPEN_PATHS

REF = "#/components/schemas/{name}"
PROBLEM = "application/problem+json"
MEANINGS = {
    400: "The body is not JSON",
    401: "An API key is needed",
    404: "Not found",
    405: "Another method is needed",
    413: "The body is too large",
    415: "The body is of a type that is not taken here",
    422: "A field is not valid; the detail names it and the cure",
    429: "This caller asks more often than it may; Retry-After says when to try again",
    500: "A defect; the detail has an id that leads to the log line",
    503: "Too much is asked at once, or a server that is needed does not answer; Retry-After says when to try again",
}

ANYWHERE = (401, 429, 500, 503)

KEY_SCHEMES: dict[str, dict[str, str]] = {
    "key": {"type": "http", "scheme": "bearer"},
    "key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""The ways to send an API key; one is enough."""


class Describer:
    """Collects the schemas of one application's routes."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.schema_of(answers.Problem)

    def schema_of(self, kind: Any) -> dict[str, Any]:
        """The JSON schema of a type; structs become components."""
        (schema,), components = msgspec.json.schema_components([kind], ref_template=REF)
        self.schemas.update(components)
        return schema

    def route(
        self,
        *,
        answer: Any = None,
        status: int = 200,
        body: Any = None,
        path: tuple[str, ...] = (),
        query: tuple[dict[str, Any], ...] = (),
        errors: tuple[int, ...] = (),
        media_type: str = "application/json",
        uploads: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Arguments of `app.add_api_route` that describe a route. `ANYWHERE` lists what any may answer.

        `uploads`: schemas of a body that is no JSON, by media type.
        """
        extra: dict[str, Any] = {}
        parameters = [_path_id(name) for name in path] + list(query)
        if parameters:
            extra["parameters"] = parameters
        if body is not None:
            extra["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": body if isinstance(body, dict) else self.schema_of(body)}},
            }
        if uploads is not None:
            content = {media: {"schema": schema} for media, schema in uploads.items()}
            extra["requestBody"] = {"required": True, "content": content}
        problem = {"content": {PROBLEM: {"schema": {"$ref": REF.format(name="Problem")}}}}
        responses: dict[int | str, dict[str, Any]] = {
            code: {"description": MEANINGS[code], **problem} for code in sorted({*errors, *ANYWHERE})
        }
        description = {"description": "Done"}
        if answer is not None:
            description = {
                "description": "The answer",
                "content": {media_type: {"schema": self.schema_of(answer)}},
            }
        responses[status] = description
        extra["responses"] = {str(code): response for code, response in sorted(responses.items())}
        return {"openapi_extra": extra, "status_code": status, "response_model": None, "response_class": Response}


def install(app: FastAPI, describer: Describer, *, needs_key: bool) -> None:
    """Make `app.openapi()` give the described document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schema.setdefault("components", {})["schemas"] = describer.schemas
            if needs_key:
                _ask_for_keys(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _ask_for_keys(schema: dict[str, Any]) -> None:
    """Say in the document that all but the open paths need a key."""
    schema["components"]["securitySchemes"] = KEY_SCHEMES
    schema["security"] = [{name: []} for name in KEY_SCHEMES]
    for path in OPEN_PATHS & schema["paths"].keys():
        for operation in schema["paths"][path].values():
            operation["security"] = []


def _path_id(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    }


def count_parameter(default: int, maximum: int) -> dict[str, Any]:
    """The `count` of a query string."""
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return {"name": "count", "in": "query", "required": False, "schema": schema}
