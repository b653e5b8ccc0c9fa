"""Search over HTTP in the process: pages, what is kept of a search, and what is refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from gateway_parts import Store, client_of, state_of

from services.db.impressions import ServedList
from services.search.result import Mode, SearchResult
from services.serve.application import build_app
from services.serve.photos import EncodedPhoto
from services.serve.query_vectors import QueryVector
from services.serve.search_serving import Searching
from services.serve.within_budget import Outcome

pytestmark = pytest.mark.anyio

RESULT = SearchResult(["a", "b"], [2.0, 1.0], 7, highlights=["<em>A</em>", "B"], next_cursor="deeper")
HEX = "0123456789abcdef" * 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Pipeline:
    """Answers with `result` and remembers what it was asked."""

    def __init__(self) -> None:
        self.ranker = SimpleNamespace(version="learned", cross_weight=0.0)
        self.snapshot = SimpleNamespace(titles=SimpleNamespace(take=lambda rows: ["AB"[row] for row in rows]))
        self.result = RESULT
        self.asked: list[tuple] = []

    def read(self, request) -> SimpleNamespace:
        return SimpleNamespace(searched=request.query.lower())

    def begin(self, portrait, request, vector, now, understood) -> SimpleNamespace:
        self.asked.append((portrait, request, vector))
        return SimpleNamespace(leading=np.array([1, 0], np.int32))

    def finish(self, begun, added) -> SearchResult:
        self.added = added
        return self.result


class Gateway:
    """The application over a pipeline in memory; `vector` is what every query is encoded to."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = Pipeline()
        self.vector = QueryVector(np.ones(2, np.float32), Outcome.CACHED)
        self.photo: EncodedPhoto | None = None
        self.kept: list[ServedList] = []
        self.recent: list[str] = []
        self.state = state_of(folder, Store())
        snapshot = SimpleNamespace(space="fused", count=0)
        searching = Searching(snapshot, SimpleNamespace(count=2), self.pipeline)
        self.state.snapshots.serving = SimpleNamespace(snapshot=snapshot, search=searching)
        self.state.impressions = SimpleNamespace(add=self.kept.append)
        self.state.query_vectors = SimpleNamespace(vector=self._vector)
        self.state.photos = SimpleNamespace(encode=self._photo)
        self.state.recent_queries = SimpleNamespace(asked=lambda user, query: self.recent.append(query))
        self.client = client_of(build_app(self.state))

    async def _vector(self, query: str, space: str) -> QueryVector:
        return self.vector

    async def _photo(self, data: bytes) -> EncodedPhoto | None:
        return self.photo

    async def search(self, **body: object) -> httpx.Response:
        return await self.client.post("/v1/search", json=body)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


async def test_an_answer_has_everything_and_is_kept_with_its_search(gateway: Gateway):
    answer = await gateway.search(query=" Red  \tLamp\x00", user_id="ada", surface="header")
    found = answer.json()
    assert [(item["item_id"], item["rank"], item["highlight"]) for item in found["items"]] == [
        ("a", 1, "<em>A</em>"),
        ("b", 2, "B"),
    ]
    assert (found["total"], found["mode"], found["query_vector"], found["degraded"]) == (7, "hybrid", "cached", False)
    assert {"decode", "portrait", "encoder", "encode"} <= {
        part.split(";")[0] for part in answer.headers["server-timing"].split(", ")
    }
    (kept,) = gateway.kept
    assert (kept.request_id, kept.user_id, kept.surface, kept.first) == (found["request_id"], "ada", "header", 0)
    assert list(kept.item_ids) == ["a", "b"]
    assert kept.search is not None
    assert (kept.search.query, kept.search.normalised, kept.search.total) == ("Red   Lamp", "red lamp", 7)
    assert gateway.recent == ["Red   Lamp"]


async def test_leading_results_are_read_together_with_the_query_where_the_ranker_wants_it(gateway: Gateway):
    gateway.pipeline.ranker.cross_weight = 0.5
    asked: list[tuple] = []
    given = np.array([1.0, 3.0], np.float32)

    async def scores(version: str, query: str, titles: list[str]) -> np.ndarray | None:
        asked.append((version, query, titles))
        return given

    gateway.state.cross_scores = SimpleNamespace(scores=scores)
    answer = await gateway.search(query="Lamp")
    assert asked == [("learned", "lamp", ["B", "A"])]
    assert gateway.pipeline.added.tolist() == [0.5, 1.5]
    assert "rerank" in answer.headers["server-timing"] and answer.json()["flags"] == []
    given = None
    assert (await gateway.search(query="Lamp")).json()["flags"] == ["not-reranked"]
    assert gateway.pipeline.added is None


async def test_the_pages_of_one_search_share_its_id_and_count_on(gateway: Gateway):
    first = (await gateway.search(query="lamp")).json()
    gateway.pipeline.result = replace(RESULT, next_cursor=None)
    second = (await gateway.search(query="lamp", cursor=first["next_cursor"])).json()
    assert second["request_id"] == first["request_id"]
    assert [item["rank"] for item in second["items"]] == [3, 4]
    assert second["next_cursor"] is None
    assert gateway.pipeline.asked[1][1].cursor == "deeper"
    assert [(kept.first, kept.search is None) for kept in gateway.kept] == [(0, False), (2, True)]


async def test_what_follows_an_offset_is_numbered_and_kept_by_its_place_in_the_whole_list(gateway: Gateway):
    found = (await gateway.search(query="lamp", offset=20)).json()
    assert [item["rank"] for item in found["items"]] == [21, 22]
    assert gateway.kept[0].first == 20 and gateway.kept[0].search is not None


async def test_a_search_of_nobody_reads_no_portrait(gateway: Gateway):
    found = (await gateway.search(query="lamp")).json()
    assert gateway.pipeline.asked[0][0] is None and gateway.state.store.reads == 0
    assert found["profile_age_ms"] is None and found["features"] == {}
    assert gateway.kept[0].user_id == "" and gateway.kept[0].search.user_id is None


async def test_without_a_vector_the_answer_says_that_it_is_lexical_and_why(gateway: Gateway):
    gateway.vector = QueryVector(None, Outcome.LATE)
    gateway.pipeline.result = replace(RESULT, modes=(Mode.LEXICAL, Mode.RELAXED))
    found = (await gateway.search(query="lamp")).json()
    assert (found["mode"], found["query_vector"], found["flags"]) == ("lexical", "late", ["lexical", "relaxed"])
    assert gateway.pipeline.asked[0][2] is None


async def test_a_shop_without_an_index_says_so(gateway: Gateway):
    gateway.state.snapshots.serving = None
    found = (await gateway.search(query="lamp", user_id="ada")).json()
    assert (found["mode"], found["items"], found["total"]) == ("not-ready", [], 0)
    assert gateway.kept == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": ""}, None),
        ({"query": "x" * 10_000}, None),
        ({"query": "\x00 \x1f"}, "query"),
        ({"query": "lamp", "cursor": "nonsense"}, "cursor"),
        ({"query": "lamp", "cursor": f"{HEX}.1234567.x"}, "cursor"),
        ({"query": "lamp", "user_id": "a\x00"}, "user_id"),
        ({"query": "lamp", "surface": "a\nb"}, "surface"),
        ({"query": "lamp", "count": 101}, None),
        ({"query": "lamp", "unknown": 1}, None),
    ],
)
async def test_what_is_not_valid_is_refused_with_a_problem(gateway: Gateway, body: dict, field: str | None):
    answer = await gateway.search(**body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
    assert answer.json().get("field") == field
    assert gateway.kept == []


async def test_a_photo_that_cannot_be_decoded_is_the_callers_fault(gateway: Gateway):
    png = b"\x89PNG\r\n\x1a\nrest"
    answer = await gateway.client.post("/v1/search/similar-image", content=png)
    assert (answer.status_code, answer.json()["reason"]) == (422, "undecodable")
    answer = await gateway.client.post("/v1/search/similar-image", content=b"text")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media")


async def test_the_routes_are_described(gateway: Gateway):
    paths = (await gateway.client.get("/openapi.json")).json()["paths"]
    assert set(paths["/v1/search"]["post"]["responses"]) >= {"200", "400", "413", "422", "503"}
    body = paths["/v1/search/similar-image"]["post"]["requestBody"]["content"]
    assert set(body) == {"image/*", "application/octet-stream", "multipart/form-data"}
    assert {p["name"] for p in paths["/v1/suggest"]["get"]["parameters"]} == {"q", "user_id", "count"}
