"""Training as a job: reads the shop, hands it to `training.publish`, and promotes what passes the gate."""

import importlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import Engine

from services.core.clock import utc_now
from services.core.errors import InvalidInput
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.checkpoints import get_checkpoint
from services.db.served_requests import count_served_requests
from services.db.session import transaction
from services.encoders.device import resolve_device
from services.features.snapshot import current_snapshot
from services.profiles.co_engagement import co_engagement_pairs
from services.profiles.offline import offline_serving
from services.profiles.reference_store import load_reference
from services.profiles.shop_data import stored_data
from services.registry.storage import open_registry
from services.workers.due import SPACE_CHECKPOINT
from services.workers.promotion import published
from services.workers.runner import Progress
from services.workers.text_adapter import adapt_text_encoder

if TYPE_CHECKING:
    from services.features.offline.reader import OfflineReader

PUBLISH = "training.publish"
"""The module that does the work, loaded by name: services do not depend on training."""
EPOCHS_EXPECTED = 30
LISTS_SINCE, LISTS_SETTLE = timedelta(days=30), timedelta(hours=1)
"""Lists teach that were served in this time; the latest are given time for something to come of them."""
MODELS, TEXT_ENCODER, SEARCH_RANKER = "models", "text-encoder", "search-ranker"
"""What a job trains (`what`): the user model with its ranker, the text encoder's adaptation to the shop, or the ranker
of search."""


def train_models(
    engine: Engine,
    settings: Settings,
    history: Callable[[], "OfflineReader"],
    parameters: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Train, publish and perhaps promote. The result names the version and what it reaches.

    `history` opens Feast's offline store: it is asked for where lists were served.

    Raises:
        InvalidInput: a parameter that cannot be.
    """
    paths = HomePaths(settings.home)
    config, seed = parameters.get("config", "default"), parameters.get("seed", 0)
    workers = parameters.get("workers", 1)
    if not isinstance(config, str) or not isinstance(seed, int) or not isinstance(workers, int) or workers < 1:
        raise InvalidInput("`config` is a name, `seed` a whole number and `workers` one from 1")
    if parameters.get("what", MODELS) == TEXT_ENCODER:
        return adapt_text_encoder(engine, settings, config, seed, progress)
    publish = importlib.import_module(PUBLISH)
    data = stored_data(engine)
    with transaction(engine) as connection:
        reference = load_reference(connection)
        versions = (get_checkpoint(connection, SPACE_CHECKPOINT) or {}).get("versions", {})
    dataset = _served_lists(engine, paths, history)
    epochs = iter(range(1, 1_000_000))

    def tell(figures: dict[str, Any]) -> None:
        progress(min(0.95, next(epochs) / EPOCHS_EXPECTED))

    def serving(known: pa.Table, history: pa.Table) -> Any:
        return offline_serving(known, history, data.items, data.vector_table())

    snapshot = current_snapshot(paths.snapshots)
    registry = open_registry(paths.models, settings.storage_url)
    manifest = publish.train_and_publish(
        publish.ShopData(data.source, data.events, data.item_ids, data.vectors, data.items),
        publish.Builders(pairs=lambda events, ids: co_engagement_pairs([events], ids, reference), serving=serving),
        registry,
        config=config,
        seed=seed,
        space=data.space,
        snapshot="" if snapshot is None else snapshot.name,
        served=None if dataset is None else publish.ServedLists(dataset, reference.examination),
        encoders=versions,
        device=str(resolve_device(settings.device).device),
        workers=workers,
        tell=tell,
        tracking=publish.TrackingConfig(paths.tracking, settings.mlflow_tracking_uri),
        checkpoints=paths.checkpoints,
    )
    return published(registry, manifest, promote=bool(parameters.get("promote")))


def _served_lists(engine: Engine, paths: HomePaths, history: Callable[[], "OfflineReader"]) -> Path | None:
    """The data set of the lists that were served lately; None where there were none."""
    now = utc_now()
    since, until = now - LISTS_SINCE, now - LISTS_SETTLE
    with transaction(engine) as connection:
        if not count_served_requests(connection, since, until):
            return None
    from services.features.offline.export import export_lists, prune_datasets  # noqa: PLC0415 - Feast: seconds

    folder = export_lists(engine, history(), paths.datasets, since=since, until=until, labelled_until=now)
    prune_datasets(paths.datasets)
    return folder
