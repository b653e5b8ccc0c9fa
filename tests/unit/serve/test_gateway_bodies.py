import asyncio
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.serve import bodies
from services.serve.bodies import REQUEST_LIMIT


def post(client: httpx.AsyncClient, content: bytes, path: str = "/v1/recommendations") -> httpx.Response:
    return asyncio.run(client.post(path, content=content))


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"", 400, "malformed-body", "JSON"),
        (b"{", 400, "malformed-body", "JSON"),
        (b'{"user_id": "ada", "diversity": NaN}', 400, "malformed-body", "NaN"),
        (b'{"user_id": "ada", "diversity": Infinity}', 400, "malformed-body", "Infinity"),
        (b"\xff\xfe", 400, "malformed-body", "UTF-8"),
        (b"[]", 422, "invalid-input", "object"),
        (b"{}", 422, "invalid-input", "user_id"),
        (b'{"user_id": 7}', 422, "invalid-input", "user_id"),
        (b'{"user_id": ""}', 422, "invalid-input", "user_id"),
        (b'{"user_id": "ada", "count": 0}', 422, "invalid-input", "count"),
        (b'{"user_id": "ada", "count": 1e999}', 422, "invalid-input", "count"),
        (b'{"user_id": "ada", "cuont": 3}', 422, "invalid-input", "cuont"),
        (b'{"user_id": "ada", "diversity": 1.5}', 422, "invalid-input", "diversity"),
        (b'{"user_id": "ada", "filter": {"price": {"min": -1}}}', 422, "invalid-input", "filter.price.min"),
        (b'{"user_id": "a\\u0000b"}', 422, "invalid-input", "user_id"),
        (b'{"user_id": "ada", "surface": "a\\nb"}', 422, "invalid-input", "surface"),
        (b'{"user_id": "ada", "recent_events": [{"item_id": "x", "type": "dance"}]}', 422, "invalid-input", "dance"),
    ],
)
def test_a_bad_body_is_a_problem_that_names_the_field(
    open_client: httpx.AsyncClient, body: bytes, status: int, code: str, said: str
):
    answer = post(open_client, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert said in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_lone_surrogate_is_no_text(open_client: httpx.AsyncClient):
    answer = post(open_client, b'{"user_id": "\\ud800"}')
    assert answer.status_code in (400, 422)


def test_a_body_announced_too_large_is_refused_unread(open_client: httpx.AsyncClient):
    async def never() -> object:
        raise AssertionError("the body was read")
        yield b""

    async def scenario() -> httpx.Response:
        headers = {"content-length": str(REQUEST_LIMIT + 1)}
        return await open_client.post("/v1/recommendations", content=never(), headers=headers)

    answer = asyncio.run(scenario())
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_body_that_grows_too_large_is_refused(open_client: httpx.AsyncClient):
    async def chunks():
        for _ in range(3):
            yield b" " * (REQUEST_LIMIT // 2)

    answer = asyncio.run(open_client.post("/v1/recommendations", content=chunks()))
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_body_that_does_not_come_gives_up_its_place(open_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "BODY_WITHIN_S", 0.01)

    async def chunks():
        yield b"{"
        await asyncio.sleep(30)

    answer = asyncio.run(open_client.post("/v1/recommendations", content=chunks()))
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-body")
    assert "did not arrive" in answer.json()["detail"]


@pytest.mark.parametrize("count", ["0", "-1", "101", "1.5", "x", "", "٣", "1e3", "9" * 400])
def test_a_bad_count_in_the_query_is_refused(open_client: httpx.AsyncClient, count: str):
    answer = asyncio.run(open_client.get("/v1/users/ada/similar", params={"count": count}))
    assert (answer.status_code, answer.json()["field"]) == (422, "count")


@pytest.mark.parametrize("user_id", ["käthe", "用户 1", "a/b/c", "100%", "a?b#c", "..", "👩‍🔬"])
def test_an_id_in_a_path_may_be_any_unicode(open_client: httpx.AsyncClient, user_id: str):
    from urllib.parse import quote

    answer = asyncio.run(open_client.get(f"/v1/users/{quote(user_id, safe='').replace('..', '%2E%2E')}/similar"))
    assert answer.status_code == 200
    assert answer.json()["user_id"] == user_id


@pytest.mark.parametrize("user_id", ["a" * 129, "a%00b", "a%1Fb"])
def test_an_id_in_a_path_is_checked(open_client: httpx.AsyncClient, user_id: str):
    answer = asyncio.run(open_client.get(f"/v1/users/{user_id}/similar"))
    assert (answer.status_code, answer.json()["field"]) == (422, "user_id")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["user_id", "count", "surface", "context", "recent_events", "filter", "exclude", "diversity", "explain"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.sampled_from(FIELDS), ANYTHING) | ANYTHING)
def test_no_body_whatsoever_is_a_server_error(open_client: httpx.AsyncClient, body: object):
    assert post(open_client, json.dumps(body).encode()).status_code in (200, 422)
    assert post(open_client, json.dumps(body).encode(), "/v1/rank").status_code in (200, 422)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_whatsoever_are_a_server_error(open_client: httpx.AsyncClient, body: bytes):
    assert post(open_client, body).status_code in (200, 400, 422)
