"""From a shop's data to a published version of its learned models, with an honest measure of what they are worth."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from training.bootstrap import bootstrap_means, ratio_of_means
from training.commit import commit
from training.compare import Builders, ShopData, catalogue_of
from training.configs import RunConfig, run_config
from training.evaluation import measure
from training.event_log import EventLog, make_event_log
from training.impressions import ServedLists
from training.learned import LearnedModels, LearnedPipeline, UserModels
from training.pipeline import PipelineInputs
from training.ranker import Examples, collect
from training.splits import Split
from training.taught_ranker import Taught, taught_ranker
from training.tracking import TrackingConfig, tracked
from training.trainer import Tell

__all__ = ["Builders", "ServedLists", "ShopData", "TrackingConfig", "train_and_publish"]

MEASURED_SHARE, MOST_MEASURED = 0.25, 3_000
"""Of the held-out users, those who do not teach the ranker but tell what it is worth."""
METRICS = ("recall@10", "ndcg@10", "recall@100")
EXPLAINED_USERS = 50
"""Of whose candidates the features' importances are taken."""
FORGOTTEN_S = 7 * 86_400
"""Checkpoints of trainings that nobody went on with are kept so long."""


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
    encoders: Mapping[str, str] | None = None,
    device: str = "cpu",
    workers: int = 1,
    tell: Tell = lambda _: None,
    tracking: TrackingConfig | None = None,
    checkpoints: Path | None = None,
) -> ModelManifest:
    """Train on all events, measure on each user's last target when it was held out, publish.

    The user model that is published has learned everything; the ranker, and the figures, come from its twin that had
    not seen the held-out targets. Users who are measured taught the ranker nothing. `served`: lists that the gateway
    served, which teach the ranker where they are enough (`training.taught_ranker`).

    `workers`: Ray workers that train the user model together (`training.ray_workers`).
    `encoders`: versions of what made the item vectors, by modality. `checkpoints`: a folder in which a run that was
    killed is found again, by the same data and settings. `tracking`: where the run is written down, if anywhere.

    Raises:
        InvalidInput: there is nothing to predict, or no such configuration.
        NotReady: there are too few users to learn from.
    """
    settings = run_config(config)
    log = make_event_log(data.events, data.item_ids)
    known = data_range(log)
    version = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{config}-{seed}"
    with tracked(tracking, version) as tracker, resumable(checkpoints, settings, seed, space, known) as checkpoint:
        tracker.about(settings, {"seed": str(seed), "device": device, "space": space, "commit": commit()})
        tracker.data(data.source, known)

        def told(figures: dict[str, Any]) -> None:
            tracker.epoch(figures)
            tell(figures)

        learned = LearnedModels(
            catalogue_of(data), settings, device=device, tell=told, checkpoints=checkpoint, workers=workers
        )
        made = _train(learned, log, builders, served, seed)
        manifest = ModelManifest(
            version=version,
            created=time.time(),
            config=config,
            seed=seed,
            space=space,
            features=FEATURES,
            feature_service=names.RETRIEVAL_SERVICE,
            feature_hash=feature_hash(FEATURES),
            snapshot=snapshot,
            data=known,
            metrics=_measured(made.values),
            baseline=_measured(made.baseline),
            gain=Measured(*ratio_of_means(made.values["ndcg@10"], made.baseline["ndcg@10"])),
            epochs=made.models.earlier.trained.epochs,
            seconds=made.seconds,
            commit=commit(),
            taught_by=made.teaching.by,
            dataset=made.teaching.dataset,
            encoders=dict(encoders or {}),
            importances=made.importances,
        )
        tracker.reached(_figures(manifest))
        with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
            final, ranker = made.models.final, made.teaching.ranker
            write_artefact(Path(folder), final.model, final.words, None if ranker is None else ranker.network)
            registry.publish(Path(folder), manifest)
        published = registry.manifest(version)
        tracker.published(registry.folder / version, published)
    return published


@dataclass(frozen=True)
class _Made:
    """`values` and `baseline`: per measured user, of the models and of the linear blend."""

    models: UserModels
    teaching: Taught
    values: dict[str, NDArray[np.float64]]
    baseline: dict[str, NDArray[np.float64]]
    importances: dict[str, float]
    seconds: float


def _train(learned: LearnedModels, log: EventLog, builders: Builders, served: ServedLists | None, seed: int) -> _Made:
    began = time.perf_counter()
    whole = np.ones(len(log.user), bool)
    split = Split("everything", log, whole, whole, np.zeros(0, np.int64))
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
        device=learned.device,
        tell=learned.tell,
    )
    ranker = teaching.ranker
    chosen = _of_users(models.held, measured)
    blend = RecommendationPipeline(pipeline.inputs.snapshot)
    ours = RecommendationPipeline(
        pipeline.inputs.snapshot,
        None if ranker is None else LearnedRanker(ranker.network, ""),
        queries=pipeline.queries,
    )
    values, baseline = (_per_user(pipeline, each, chosen) for each in (ours, blend))
    some = collect(models.held, pipeline.candidates, measured[:EXPLAINED_USERS])
    weights = {} if ranker is None else importances(LearnedRanker(ranker.network, ""), some)
    return _Made(models, teaching, values, baseline, weights, round(time.perf_counter() - began, 1))


def importances(ranker: LearnedRanker, examples: Examples, most: int = 2_000) -> dict[str, float]:
    """By feature the mean size of its contribution to the scores of candidates, largest first."""
    rows = examples.features[:: max(1, len(examples.features) // most)].astype(np.float32)
    sizes = np.abs(ranker.contributions(rows)).mean(axis=0)
    return {FEATURES[place]: round(float(sizes[place]), 4) for place in np.argsort(-sizes).tolist()}


@contextmanager
def resumable(root: Path | None, settings: RunConfig, seed: int, space: str, data: DataRange) -> Iterator[Path | None]:
    """A folder for the checkpoints of this very training; it goes when the training ends well, or is a week old."""
    if root is None:
        yield None
        return
    key = hashlib.sha256(repr((settings, seed, space, data.digest)).encode()).hexdigest()[:16]
    for other in root.glob("*/"):
        if other.name != key and other.stat().st_mtime < time.time() - FORGOTTEN_S:
            shutil.rmtree(other, ignore_errors=True)
    yield root / key
    shutil.rmtree(root / key, ignore_errors=True)


def _figures(manifest: ModelManifest) -> dict[str, float]:
    figures = {"gain": manifest.gain, **manifest.metrics}
    figures |= {f"baseline/{name}": value for name, value in manifest.baseline.items()}
    return {
        f"{name}{end}": value
        for name, measured in figures.items()
        for end, value in (("", measured.mean), ("_low", measured.low), ("_high", measured.high))
    }


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


def data_range(log: EventLog) -> DataRange:
    """What a log holds, with a digest of its events."""
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
