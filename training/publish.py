"""From a shop's data to a published version of its learned models, with an honest measure of what they are worth."""

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_repo import names
from services.core import columns
from services.core.errors import NotReady
from services.features.transforms import FEATURES
from services.recommend.learned import LearnedRanker
from services.recommend.pipeline import RecommendationPipeline
from services.registry.artefact import write_artefact
from services.registry.manifest import DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import ModelRegistry
from training.bootstrap import bootstrap_means
from training.compare import Builders, ShopData, catalogue_of
from training.configs import run_config
from training.evaluation import measure
from training.event_log import EventLog, make_event_log
from training.impressions import ServedLists
from training.learned import LearnedModels, LearnedPipeline
from training.pipeline import PipelineInputs
from training.ranker import collect
from training.splits import Split
from training.taught_ranker import taught_ranker

__all__ = ["Builders", "ServedLists", "ShopData", "train_and_publish"]

MEASURED_SHARE, MOST_MEASURED = 0.25, 3_000
"""Of the held-out users, those who do not teach the ranker but tell what it is worth."""
METRICS = ("recall@10", "ndcg@10", "recall@100")
RESAMPLES = 1_000


def train_and_publish(
    data: ShopData,
    builders: Builders,
    registry: ModelRegistry,
    *,
    config: str = "default",
    seed: int = 0,
    space: str = "",
    snapshot: str = "",
    served: ServedLists | None = None,
    device: str = "cpu",
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> ModelManifest:
    """Train on all events, measure on each user's last target when it was held out, publish.

    The user model that is published has learned everything; the ranker, and the figures, come from its twin that had
    not seen the held-out targets. Users who are measured taught the ranker nothing. `served`: lists that the gateway
    served, which teach the ranker where they are enough (`training.taught_ranker`).

    Raises:
        InvalidInput: there is nothing to predict, or no such configuration.
        NotReady: there are too few users to learn from.
    """
    began = time.perf_counter()
    log = make_event_log(data.events, data.item_ids)
    whole = np.ones(len(log.user), bool)
    split = Split("everything", log, whole, whole, np.zeros(0, np.int64))
    learned = LearnedModels(catalogue_of(data), run_config(config), device=device, tell=tell)
    models = learned.user_models(split, seed)

    def build(part: Split) -> PipelineInputs:
        return PipelineInputs(*builders.serving(part.fit_events(), part.history_events()))

    pipeline = LearnedPipeline(build, learned, seed)
    pipeline.prepare(models.held, models.earlier)
    taught, measured = _parts(models.held.users, seed, learned.config.ranker.users)
    if not len(measured):
        raise NotReady("Too few users have two events to learn from: wait for more")
    teaching = taught_ranker(
        served,
        lambda users: collect(models.held, pipeline.candidates, users),
        taught,
        measured,
        log.user_ids,
        learned.config.ranker,
        seed,
        device=device,
        tell=tell,
    )
    ranker = teaching.ranker
    chosen = _of_users(models.held, measured)
    blend = RecommendationPipeline(pipeline.inputs.snapshot)
    ours = RecommendationPipeline(
        pipeline.inputs.snapshot,
        None if ranker is None else LearnedRanker(ranker.network, ""),
        queries=pipeline.queries,
    )
    values = [_per_user(pipeline, each, chosen) for each in (ours, blend)]
    manifest = ModelManifest(
        version=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{config}-{seed}",
        created=time.time(),
        config=config,
        seed=seed,
        space=space,
        features=FEATURES,
        feature_service=names.RANKING_SERVICE,
        feature_hash=feature_hash(FEATURES),
        snapshot=snapshot,
        data=_range(log),
        metrics=_measured(values[0]),
        baseline=_measured(values[1]),
        gain=_gain(values[0]["ndcg@10"], values[1]["ndcg@10"]),
        epochs=models.earlier.trained.epochs,
        seconds=round(time.perf_counter() - began, 1),
        commit=_commit(),
        taught_by=teaching.by,
        dataset=teaching.dataset,
    )
    with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
        write_artefact(Path(folder), models.final.model, models.final.words, None if ranker is None else ranker.network)
        registry.publish(Path(folder), manifest)
    return registry.manifest(manifest.version)


def _parts(users: NDArray[np.int32], seed: int, most: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Who teaches the ranker, and who tells what it is worth."""
    order = np.random.default_rng(seed + 5).permutation(users)
    count = min(MOST_MEASURED, round(MEASURED_SHARE * len(order)))
    return np.sort(order[count : count + most]), np.sort(order[:count])


def _of_users(split: Split, users: NDArray[np.int32]) -> Split:
    kept = np.isin(split.log.user[split.targets], users)
    return Split(split.name, split.log, split.fit, split.history, split.targets[kept])


def _per_user(
    recommender: LearnedPipeline, pipeline: RecommendationPipeline, split: Split
) -> dict[str, NDArray[np.float64]]:
    recommender.pipeline = pipeline
    values, _ = measure(recommender.recommend(split.users, 100), split, (10, 100))
    return {name: values[name] for name in METRICS}


def _measured(values: dict[str, NDArray[np.float64]]) -> dict[str, Measured]:
    found = bootstrap_means(values)
    return {name: Measured(*(round(v, 6) for v in (i.mean, i.low, i.high))) for name, i in found.items()}


def _gain(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Measured:
    """Ratio of the means with its 95% interval, resampling users (both of one user together)."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(ours), (RESAMPLES, len(ours)))
    ratios = ours[drawn].mean(axis=1) / np.maximum(theirs[drawn].mean(axis=1), 1e-9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Measured(*(round(float(v), 4) for v in (ours.mean() / max(theirs.mean(), 1e-9), low, high)))


def _range(log: EventLog) -> DataRange:
    frame = pl.from_arrow(log.events).select(columns.USER_ID, columns.ITEM_ID, columns.TYPE, columns.TIMESTAMP)
    digest = hashlib.sha256(np.ascontiguousarray(frame.hash_rows().sort().to_numpy()).tobytes()).hexdigest()[:16]
    times = frame[columns.TIMESTAMP]
    return DataRange(
        events=len(frame),
        users=log.user_count,
        items=log.item_count,
        first=times.min().isoformat(),
        last=times.max().isoformat(),
        target=log.target_type,
        digest=digest,
    )


def _commit() -> str:
    """The commit of the code that trained, empty outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
