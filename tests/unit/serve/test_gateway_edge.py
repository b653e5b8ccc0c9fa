import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.core.metrics import ServingMetrics
from services.serve import problems
from services.serve.edge import Edge


def ask(client: httpx.AsyncClient, method: str, path: str, **request: object) -> httpx.Response:
    return asyncio.run(client.request(method, path, **request))


RECOMMEND = {"method": "POST", "path": "/v1/recommendations"}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first-key"},
        {"authorization": "bearer second-key"},
        {"x-api-key": "second-key"},
    ],
)
def test_any_of_the_keys_opens_in_either_header(locked_client: httpx.AsyncClient, headers: dict[str, str]):
    assert ask(locked_client, **RECOMMEND, headers=headers, json={"user_id": "ada"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic first-key"},
        {"authorization": "Bearer first-key,second-key"},
        {"x-api-key": ""},
        {"x-api-key": "first-ke"},
    ],
)
def test_without_a_key_nothing_is_answered(locked_client: httpx.AsyncClient, headers: dict[str, str]):
    answer = ask(locked_client, **RECOMMEND, headers=headers, json={"user_id": "ada"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthorised"


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/nowhere", "/metrics", "/v1/metrics", "/v1//healthz"])
def test_everything_but_probes_and_the_description_needs_a_key(locked_client: httpx.AsyncClient, path: str):
    assert ask(locked_client, "GET", path).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/v1/healthz", "/openapi.json", "/v1/docs"])
def test_probes_and_the_description_need_none(locked_client: httpx.AsyncClient, path: str):
    assert ask(locked_client, "GET", path).status_code == 200


def test_the_description_says_how_to_send_a_key_and_what_needs_none(locked_client: httpx.AsyncClient):
    described = ask(locked_client, "GET", "/openapi.json").json()
    assert described["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer"},
        "key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    assert described["security"] == [{"key": []}, {"key_header": []}]
    operations = {path: operation for path, of in described["paths"].items() for operation in of.values()}
    open_paths = {path for path, operation in operations.items() if operation.get("security") == []}
    assert open_paths == {"/healthz", "/v1/healthz", "/readyz", "/v1/readyz"}


def test_without_keys_the_description_asks_for_none(open_client: httpx.AsyncClient):
    described = ask(open_client, "GET", "/openapi.json").json()
    assert "security" not in described and "securitySchemes" not in described["components"]


def test_an_unknown_path_is_a_problem(open_client: httpx.AsyncClient):
    answer = ask(open_client, "GET", "/v1/nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_a_wrong_method_names_the_right_one(open_client: httpx.AsyncClient):
    answer = ask(open_client, "GET", "/v1/recommendations")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert "POST" in answer.json()["detail"] and answer.headers["allow"] == "POST"


def test_a_defect_tells_its_id_and_nothing_of_the_inside():
    app = FastAPI()
    problems.install(app)

    @app.get("/broken")
    async def broken() -> None:
        raise KeyError("a secret inside")

    metrics = ServingMetrics()
    transport = httpx.ASGITransport(app=Edge(app, frozenset(), metrics), raise_app_exceptions=False)
    answer = ask(httpx.AsyncClient(transport=transport, base_url="http://gateway"), "GET", "/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal"
    assert answer.json()["error_id"] in answer.json()["detail"]
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_requests_are_counted_by_route_and_not_by_path(open_client: httpx.AsyncClient):
    async def scenario() -> str:
        for user in ("ada", "ben"):
            await open_client.get(f"/v1/users/{user}/similar")
        return (await open_client.get("/metrics")).text

    text = asyncio.run(scenario())
    route = 'route="/v1/users/{user_id:path}/similar"'
    assert f'portrait_http_requests_total{{method="GET",{route},status="200"}} 2.0' in text
    assert "ada" not in text


def test_the_docs_page_loads_nothing_from_elsewhere(open_client: httpx.AsyncClient):
    page = ask(open_client, "GET", "/docs").text
    assert "http://" not in page and "https://" not in page and "openapi.json" in page


def test_the_home_of_a_shop_without_items_recommends_nothing(open_client: httpx.AsyncClient, tmp_path: Path):
    answer = ask(open_client, **RECOMMEND, json={"user_id": "ada"})
    assert answer.status_code == 200
    assert answer.json()["items"] == [] and answer.json()["cold_start"]
