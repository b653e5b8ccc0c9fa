"""`POST /v1/search`, `GET /v1/suggest` and `POST /v1/search/similar-image`."""

import time
from uuid import uuid4

import msgspec
from fastapi import FastAPI, Request, Response

from services.core.errors import InvalidInput
from services.db.impressions import ServedList
from services.db.searches import AnsweredSearch
from services.search.query_memory import query_key
from services.search.result import Mode, SearchResult
from services.search.understanding import UnderstoodQuery
from services.serve.answers import Model
from services.serve.bodies import check_id, check_text, decode, query_count, read_body
from services.serve.openapi import Describer, count_parameter
from services.serve.portraits import Reading
from services.serve.respond import json_response, server_timing
from services.serve.routes.recommendations import NO_MODEL, answered
from services.serve.search_answers import PhotoAnswer, PhotoItem, SearchAnswer, SearchItem, SuggestAnswer
from services.serve.search_request import Page, WireSearch, printable
from services.serve.similar_photos import similar_items
from services.serve.state import State
from services.serve.surfaces import replaced
from services.serve.uploads import FORM, read_picture
from services.serve.within_budget import Outcome

SEARCH = msgspec.json.Decoder(WireSearch)
SURFACE, PHOTO_SURFACE = "search", "similar-image"
NOT_READY = "not-ready"
DEFAULT_SUGGESTED, MAX_SUGGESTED = 8, 20
DEFAULT_SIMILAR, MAX_SIMILAR = 20, 100
MAX_TYPED = 512


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the routes."""

    async def search(request: Request) -> Response:
        """Items by words and by meaning, in the user's order."""
        return await _search(state, request)

    async def suggest(request: Request) -> Response:
        """Completions of what has been typed so far: the user's own searches, others', and what the shop has."""
        return await _suggest(state, request)

    async def similar_image(request: Request) -> Response:
        """Items whose pictures are like an uploaded photo."""
        return await _similar_image(state, request)

    app.add_api_route(
        "/v1/search",
        search,
        methods=["POST"],
        **describe.route(body=WireSearch, answer=SearchAnswer, errors=(400, 413, 422, 503)),
    )
    typed = {"name": "q", "in": "query", "required": False, "schema": {"type": "string", "maxLength": MAX_TYPED}}
    user = {
        "name": "user_id",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    }
    app.add_api_route(
        "/v1/suggest",
        suggest,
        methods=["GET"],
        **describe.route(
            query=(typed, user, count_parameter(DEFAULT_SUGGESTED, MAX_SUGGESTED)),
            answer=SuggestAnswer,
            errors=(422, 503),
        ),
    )
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": binary}, "required": ["image"]}
    app.add_api_route(
        "/v1/search/similar-image",
        similar_image,
        methods=["POST"],
        **describe.route(
            query=(user, count_parameter(DEFAULT_SIMILAR, MAX_SIMILAR)),
            uploads={"image/*": binary, "application/octet-stream": binary, FORM: form},
            answer=PhotoAnswer,
            errors=(400, 413, 415, 422, 503),
        ),
    )


async def _search(state: State, request: Request) -> Response:
    start = time.perf_counter()
    wanted = decode(SEARCH, await read_body(request))
    query = printable(wanted.query)
    page = Page.of(wanted.cursor, wanted.offset)
    if wanted.surface is not None:
        check_text(wanted.surface, "surface")
    stages = {"decode": time.perf_counter() - start}
    now = time.time()
    reading = None if wanted.user_id is None else state.portraits.read(check_id(wanted.user_id, "user_id"), now)
    lap = time.perf_counter()
    stages["portrait"] = lap - start - stages["decode"]
    serving = state.snapshots.serving
    searching = None if serving is None else serving.search
    if searching is None:
        return json_response(_not_ready(page, reading, now, start))
    asked = msgspec.structs.replace(wanted, query=query, cursor=page.cursor)
    understood = searching.pipeline.read(asked)
    stages["understand"] = time.perf_counter() - lap
    vector = await state.query_vectors.vector(understood.searched, searching.snapshot.space)
    stages["encoder"] = time.perf_counter() - lap - stages["understand"]
    portrait = None if reading is None else reading.portrait
    fallback = state.surfaces.fallback(wanted.surface, state.live.now)
    if fallback is not None and portrait is not None:
        portrait, asked = replaced(fallback, portrait, asked, now)
        state.metrics.fallbacks.labels(wanted.surface, fallback.reason, fallback.ranking).inc()
    begun = searching.begin(portrait, asked, understood, vector.vector, now)
    cross_scores = None
    if begun.to_read:
        lap = time.perf_counter()
        cross_scores = await state.cross_scores.scores(begun.ranker, understood.searched, begun.to_read)
        stages["rerank"] = time.perf_counter() - lap
    found = searching.finish(begun, cross_scores)
    stages.update(found.stages)
    encoding = time.perf_counter()
    model = Model("search", found.versions.get("ranker", ""))
    mode = mode_of(found)
    answer = SearchAnswer(
        request_id=page.request_id,
        items=_items(found, page),
        total=found.total,
        corrected_query=found.corrected_query,
        did_you_mean=found.did_you_mean,
        facets=found.facets,
        next_cursor=page.next(len(found.item_ids), found.next_cursor),
        mode=mode,
        flags=[each.value for each in found.modes],
        query_vector=vector.outcome.value,
        model=model,
        versions=found.versions,
        profile_age_ms=None if reading is None else reading.age_ms(now),
        took_ms=round((encoding - start) * 1000, 3),
        degraded=reading is not None and reading.degraded,
        features={} if reading is None else answered(reading),
    )
    response = json_response(answer)
    stages["encode"] = time.perf_counter() - encoding
    response.headers.update(server_timing(stages))
    state.metrics.observe_stages(stages)
    state.metrics.searches.labels(mode).inc()
    if not found.total:
        state.metrics.empty_searches.inc()
    state.impressions.add(_served(found, page, wanted, understood, model, mode, now))
    if wanted.user_id is not None and page.cursor is None:
        state.recent_queries.asked(wanted.user_id, query)
    return response


async def _suggest(state: State, request: Request) -> Response:
    start = time.perf_counter()
    typed = request.query_params.get("q", "")
    if len(typed) > MAX_TYPED:
        raise InvalidInput(f"`q` has {len(typed)} characters: send at most {MAX_TYPED}", field="q")
    count = query_count(request, DEFAULT_SUGGESTED, MAX_SUGGESTED)
    user_id = request.query_params.get("user_id")
    recent: list[str] = []
    portrait = None
    if user_id is not None:
        portrait = state.portraits.read(check_id(user_id, "user_id"), time.time()).portrait
        recent = await state.recent_queries.of(user_id)
    stages = {"user": time.perf_counter() - start}
    serving = state.snapshots.serving
    searching = None if serving is None else serving.search
    found = [] if searching is None else searching.suggest(typed, portrait, recent, count)
    stages["suggest"] = time.perf_counter() - start - stages["user"]
    state.metrics.observe_stages(stages)
    took = round((time.perf_counter() - start) * 1000, 3)
    answer = SuggestAnswer(found, took)
    return json_response(answer, headers=server_timing(stages))


async def _similar_image(state: State, request: Request) -> Response:
    start = time.perf_counter()
    count = query_count(request, DEFAULT_SIMILAR, MAX_SIMILAR)
    user_id = request.query_params.get("user_id")
    if user_id is not None:
        check_id(user_id, "user_id")
    picture = await read_picture(request)
    stages = {"decode": time.perf_counter() - start}
    photo = await state.photos.encode(picture)
    if photo is None:
        raise InvalidInput(
            "The picture cannot be decoded: send a whole picture of at most 24 megapixels", reason="undecodable"
        )
    lap = time.perf_counter()
    stages["encoder"] = lap - start - stages["decode"]
    serving = state.snapshots.serving
    found = [] if serving is None else await similar_items(state.database, serving.snapshot, photo, count)
    stages["retrieval"] = time.perf_counter() - lap
    state.metrics.observe_stages(stages)
    request_id = uuid4().hex
    items = [PhotoItem(item_id, score, rank) for rank, (item_id, score) in enumerate(found, 1)]
    state.impressions.add(_shown(request_id, user_id, items))
    answer = PhotoAnswer(request_id, items, round((time.perf_counter() - start) * 1000, 3))
    return json_response(answer, headers=server_timing(stages))


def mode_of(found: SearchResult) -> str:
    """How an answer was made, in one word."""
    if Mode.LEXICAL in found.modes:
        return Mode.LEXICAL.value
    return Mode.SEMANTIC.value if Mode.SEMANTIC in found.modes else "hybrid"


def _items(found: SearchResult, page: Page) -> list[SearchItem]:
    count = len(found.item_ids)
    highlights = found.highlights or [None] * count
    reasons = found.reasons or [None] * count
    rows = zip(found.item_ids, found.scores, highlights, reasons, strict=True)
    return [SearchItem(*row[:2], rank, *row[2:]) for rank, row in enumerate(rows, page.shown + 1)]


def _served(
    found: SearchResult, page: Page, wanted: WireSearch, query: UnderstoodQuery, model: Model, mode: str, now: float
) -> ServedList:
    """The impressions of one page, with the search itself on the first."""
    count = len(found.item_ids)
    search = None
    if page.cursor is None:
        search = AnsweredSearch(
            request_id=page.request_id,
            user_id=wanted.user_id,
            surface=wanted.surface,
            timestamp=now,
            query=printable(wanted.query),
            normalised=query_key(query.searched),
            corrected=found.corrected_query,
            mode=mode,
            total=found.total,
        )
    return ServedList(
        request_id=page.request_id,
        user_id=wanted.user_id or "",
        surface=wanted.surface or SURFACE,
        timestamp=now,
        model=f"{model.name}@{model.version}",
        item_ids=found.item_ids,
        scores=found.scores,
        propensities=[1.0] * count,
        sources=[[mode]] * count,
        first=page.shown,
        search=search,
    )


def _shown(request_id: str, user_id: str | None, items: list[PhotoItem]) -> ServedList:
    return ServedList(
        request_id=request_id,
        user_id=user_id or "",
        surface=PHOTO_SURFACE,
        timestamp=time.time(),
        model="image@1",
        item_ids=[item.item_id for item in items],
        scores=[item.score for item in items],
        propensities=[1.0] * len(items),
        sources=[["image"]] * len(items),
    )


def _not_ready(page: Page, reading: Reading | None, now: float, start: float) -> SearchAnswer:
    """The answer of a shop that has no search index yet."""
    return SearchAnswer(
        request_id=page.request_id,
        items=[],
        total=0,
        corrected_query=None,
        did_you_mean=None,
        facets=None,
        next_cursor=None,
        mode=NOT_READY,
        flags=[],
        query_vector=Outcome.LEFT_ALONE.value,
        model=NO_MODEL,
        versions={},
        profile_age_ms=None if reading is None else reading.age_ms(now),
        took_ms=round((time.perf_counter() - start) * 1000, 3),
        degraded=reading is not None and reading.degraded,
        features={} if reading is None else answered(reading),
    )
