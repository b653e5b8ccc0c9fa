"""What keeping how lists were ranked costs the gateway's process: processor time a list, beside the list's own.

In the request: making the log entry. In the writer's thread, on PostgreSQL: lists with entries and portraits over lists
alone, every list by another user, which is the dearest case. Bar: 5% of the pipeline's processor time in the request.
Run: `python -m benchmarks.request_log`.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import Engine, text

from benchmarks._synthetic_shop import synthetic_portraits, synthetic_snapshot
from services.core.paths import HomePaths
from services.db.impressions import ServedList, insert_impressions
from services.db.migrate import upgrade
from services.db.served_requests import LoggedRequest, insert_served_requests, keep_portraits
from services.db.session import make_engine, transaction
from services.features.freshness import PRESENT, FeatureStatus
from services.features.portrait import pack
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecommendationRequest
from services.runtime.postgres import EmbeddedPostgres
from services.serve.portraits import Reading
from services.serve.request_log import logged_request
from services.serve.serving import Serving

ITEMS, LISTS, AT_ONCE = 12_000, 2_000, 250
BAR = 0.05


def run() -> dict[str, Any]:
    """The share of a list's processor time that its log entry takes, and what the writer adds."""
    with tempfile.TemporaryDirectory(prefix="pb-") as folder:
        home = Path(folder).resolve()
        made, spent = _lists(home)
        server = EmbeddedPostgres(HomePaths(home))
        server.start()
        try:
            url = server.url().replace("postgresql://", "postgresql+psycopg://", 1)
            upgrade(url)
            engine = make_engine(url)
            written = {kind: _written(engine, made, logged=kind == "with") for kind in ("without", "with")}
            stored = _bytes(engine)
            engine.dispose()
        finally:
            server.stop()
    entry, pipeline = np.median(spent, axis=0)
    return {
        "name": "request_log",
        "figure": round(float(entry / pipeline), 4),
        "bar": BAR,
        "holds": bool(entry / pipeline <= BAR),
        "figures": {
            "pipeline_cpu_ms": round(float(pipeline) * 1e3, 3),
            "entry_cpu_ms": round(float(entry) * 1e3, 4),
            "writer_cpu_ms_a_list": round(written["with"] * 1e3, 3),
            "writer_cpu_ms_a_list_without": round(written["without"] * 1e3, 3),
            "bytes_a_list": {name: round(size / LISTS) for name, size in stored.items()},
        },
    }


def _lists(home: Path) -> tuple[list[tuple[ServedList, LoggedRequest]], list[tuple[float, float]]]:
    """Lists with their entries, and seconds of processor time of the entry and of the pipeline."""
    snapshot = synthetic_snapshot(HomePaths(home).snapshots, ITEMS)
    pipeline = RecommendationPipeline(snapshot)
    pipeline.warm()
    serving, made, spent = Serving(snapshot, pipeline), [], []
    for portrait in synthetic_portraits(snapshot, LISTS):
        reading = Reading(portrait, False, FeatureStatus(portrait.as_of, PRESENT), pack(portrait))
        request, request_id = RecommendationRequest(portrait.user_id), uuid4().hex
        begun = time.thread_time()
        found = pipeline.recommend(portrait, request, portrait.as_of, seed=request_id)
        between = time.thread_time()
        entry = logged_request(found, reading, request, serving, request_id, portrait.as_of, 1.0)
        spent.append((time.thread_time() - between, between - begun))
        assert entry is not None  # nothing is degraded here
        served = ServedList(
            request_id=request_id,
            user_id=portrait.user_id,
            surface=None,
            timestamp=portrait.as_of,
            model="linear-blend@2",
            item_ids=found.item_ids,
            scores=found.scores,
            propensities=found.propensities,
            sources=found.sources,
        )
        made.append((served, entry))
    return made, spent


def _written(engine: Engine, made: list[tuple[ServedList, LoggedRequest]], *, logged: bool) -> float:
    """Seconds of this thread's processor time a list."""
    with transaction(engine) as connection:
        connection.execute(text("TRUNCATE impressions, served_requests, serving_features"))
    begun = time.thread_time()
    for at in range(0, len(made), AT_ONCE):
        batch = made[at : at + AT_ONCE]
        with transaction(engine) as connection:
            insert_impressions(connection, [served for served, _ in batch])
            if logged:
                entries = [entry for _, entry in batch]
                keep_portraits(connection, [(e.user_id, e.portrait_at, e.packed) for e in entries])
                insert_served_requests(connection, entries)
    return (time.thread_time() - begun) / len(made)


def _bytes(engine: Engine) -> dict[str, int]:
    names = ("impressions", "served_requests", "serving_features")
    with transaction(engine) as connection:
        return {
            name: connection.execute(text(f"SELECT pg_total_relation_size('{name}')")).scalar_one() for name in names
        }


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
