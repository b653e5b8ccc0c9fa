"""`POST /v1/recommendations` and `POST /v1/rank`: the hot path."""

import time
from uuid import uuid4

import msgspec
from fastapi import FastAPI, Request, Response

from services.db.impressions import ServedList
from services.recommend.ranker import Ranker
from services.recommend.request import RankRequest, RecommendationRequest
from services.recommend.result import Recommendation
from services.serve.answers import FeatureStatus, Model, RankAnswer, RecommendationAnswer
from services.serve.bodies import check_id, check_text, decode, read_body
from services.serve.openapi import Describer
from services.serve.portraits import Reading
from services.serve.request_log import logged_request
from services.serve.respond import json_response, server_timing
from services.serve.state import State
from services.serve.surfaces import replaced

RECOMMENDATION = msgspec.json.Decoder(RecommendationRequest)
RANK = msgspec.json.Decoder(RankRequest)
NO_MODEL = Model("none", "0")


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the routes."""

    async def recommend(request: Request) -> Response:
        """Personalised recommendations. An unknown user gets popular and new items."""
        start = time.perf_counter()
        wanted = decode(RECOMMENDATION, await read_body(request))
        check_id(wanted.user_id, "user_id")
        if wanted.surface is not None:
            check_text(wanted.surface, "surface")
        decoded = time.perf_counter()
        now = round(time.time(), 6)  # what PostgreSQL keeps of it: a replay computes with the same time
        reading = state.portraits.read(wanted.user_id, now)
        stages = {"decode": decoded - start, "portrait": time.perf_counter() - decoded}
        request_id = uuid4().hex
        serving = state.snapshots.serving
        if serving is None:
            return json_response(_empty(request_id, reading, now, start))
        fallback = state.surfaces.fallback(wanted.surface, state.live.now)
        portrait = reading.portrait
        if fallback is not None:
            portrait, wanted = replaced(fallback, portrait, wanted, now)
            state.metrics.fallbacks.labels(wanted.surface, fallback.reason, fallback.ranking).inc()
        pipeline = serving.pipeline_of(wanted.user_id)
        found = pipeline.recommend(portrait, wanted, now, seed=request_id)
        model = model_of(pipeline.ranker)
        state.shadow.offer(serving, portrait, wanted, now, request_id, found.item_ids)
        share = state.settings.request_log_share if fallback is None else 0.0  # under one the portrait did not rank
        logged = logged_request(found, reading, wanted, serving, request_id, now, share)
        state.impressions.add(_served(found, request_id, wanted, model, now), logged)
        stages.update(found.stages)
        encoding = time.perf_counter()
        answer: dict[str, object] = {
            "request_id": request_id,
            "items": _items(found),
            "model": model,
            "profile_age_ms": reading.age_ms(now),
            "took_ms": round((encoding - start) * 1000, 3),
            "cold_start": found.cold,
            "degraded": reading.degraded,
            "features": reading.features,
        }
        if fallback is not None:
            answer["fallback"] = fallback
        response = json_response(answer)
        stages["encode"] = time.perf_counter() - encoding
        response.headers.update(server_timing(stages))
        state.metrics.observe_stages(stages)
        state.metrics.candidates.observe(found.candidates)
        return response

    async def rank(request: Request) -> Response:
        """The caller's items in the user's order; unknown items last, flagged."""
        start = time.perf_counter()
        wanted = decode(RANK, await read_body(request))
        check_id(wanted.user_id, "user_id")
        now = time.time()
        reading = state.portraits.read(wanted.user_id, now)
        stages = {"portrait": time.perf_counter() - start}
        serving = state.snapshots.serving
        if serving is None:
            items = [{"item_id": i, "rank": n, "score": None, "known": False} for n, i in enumerate(wanted.item_ids, 1)]
            model = NO_MODEL
        else:
            pipeline = serving.pipeline_of(wanted.user_id)
            ranking = pipeline.rank(reading.portrait, wanted, now)
            stages.update(ranking.stages)
            model = model_of(pipeline.ranker)
            rows = zip(ranking.item_ids, ranking.scores, ranking.known, strict=True)
            items = [{"item_id": i, "rank": n, "score": s, "known": k} for n, (i, s, k) in enumerate(rows, 1)]
            for item, reasons in zip(items, ranking.reasons or [], strict=False):
                item["reasons"] = reasons or []
        state.metrics.observe_stages(stages)
        answer = {
            "items": items,
            "model": model,
            "profile_age_ms": reading.age_ms(now),
            "took_ms": round((time.perf_counter() - start) * 1000, 3),
            "degraded": reading.degraded,
            "features": reading.features,
        }
        return json_response(answer, headers=server_timing(stages))

    app.add_api_route(
        "/v1/recommendations",
        recommend,
        methods=["POST"],
        **describe.route(body=RecommendationRequest, answer=RecommendationAnswer, errors=(400, 413, 422, 503)),
    )
    app.add_api_route(
        "/v1/rank",
        rank,
        methods=["POST"],
        **describe.route(body=RankRequest, answer=RankAnswer, errors=(400, 413, 422, 503)),
    )


def model_of(ranker: Ranker) -> Model:
    """How an answer names its ranker."""
    return Model(ranker.name, ranker.version)


def _items(found: Recommendation) -> list[dict[str, object]]:
    rows = zip(found.item_ids, found.scores, found.sources, found.propensities, strict=True)
    items: list[dict[str, object]] = []
    for rank, (item_id, score, sources, propensity) in enumerate(rows, 1):
        item: dict[str, object] = {"item_id": item_id, "score": score, "rank": rank, "sources": sources}
        if propensity != 1.0:
            item["propensity"] = propensity
        if found.reasons is not None:
            item["reasons"] = found.reasons[rank - 1]
        items.append(item)
    return items


def _served(
    found: Recommendation, request_id: str, wanted: RecommendationRequest, model: Model, now: float
) -> ServedList:
    return ServedList(
        request_id=request_id,
        user_id=wanted.user_id,
        surface=wanted.surface,
        timestamp=now,
        model=f"{model.name}@{model.version}",
        item_ids=found.item_ids,
        scores=found.scores,
        propensities=found.propensities,
        sources=found.sources,
    )


def _empty(request_id: str, reading: Reading, now: float, start: float) -> RecommendationAnswer:
    """The answer of a shop that has no items yet."""
    took = round((time.perf_counter() - start) * 1000, 3)
    return RecommendationAnswer(
        request_id, [], NO_MODEL, reading.age_ms(now), took, True, reading.degraded, answered(reading)
    )


def answered(reading: Reading) -> dict[str, FeatureStatus]:
    """The statuses of what was read, as answers carry them."""
    return {name: FeatureStatus(found.timestamp, found.status) for name, found in reading.features.items()}
