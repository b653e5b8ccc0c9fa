"""Adapting the text encoder as a job: reads the shop, hands its pairs of texts to `training.text_encoder`."""

import importlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from sqlalchemy import Engine

from services.core import columns
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.events import read_events
from services.db.items import read_items
from services.db.session import transaction
from services.encoders.adapter import read_adapter
from services.encoders.content import item_texts
from services.encoders.device import resolve_device
from services.encoders.text import TextEncoder, load_parts

ADAPTER_TRAINING = "training.text_encoder"
"""The module that does the work, loaded by name: services do not depend on training."""
EVENT_COLUMNS = (columns.USER_ID, columns.ITEM_ID, columns.TYPE, columns.TIMESTAMP, "query")


def adapt_text_encoder(
    engine: Engine, settings: Settings, config: str, seed: int, progress: Callable[[float], None]
) -> dict[str, Any]:
    """Train an adapter of the configured text encoder (of its base, if it is one already) and keep it under the home.

    The result names the folder for `PORTRAIT_TEXT_ENCODER`, and recall@10 on unseen items before and after.
    """
    training = importlib.import_module(ADAPTER_TRAINING)
    wanted = training.text_adapter(config)
    paths, named = HomePaths(settings.home), settings.text_encoder
    known = read_adapter(Path(named).expanduser())
    base = named if known is None else known.base
    model, tokenizer, shape = load_parts(base)
    encoder = TextEncoder(base, model, tokenizer, shape, resolve_device(settings.device))
    with transaction(engine) as connection:
        events = read_events(connection, columns=EVENT_COLUMNS, ordered=True, consenting=True)
        items = read_items(connection)
    pairs = training.text_pairs(events, items[columns.ITEM_ID].combine_chunks(), texts_of(items), wanted.pairs, seed)
    version = f"text-{datetime.now(UTC):%Y%m%d-%H%M%S}-{config}-{seed}"
    done = iter(range(1, 1_000))
    with training.tracked(training.TrackingConfig(paths.tracking, settings.mlflow_tracking_uri), version) as tracker:
        tracker.about(wanted, {"seed": str(seed), "base": encoder.version})

        def tell(figures: dict[str, Any]) -> None:
            tracker.epoch(figures)
            progress(min(0.95, next(done) / wanted.max_epochs))

        adapted = training.adapt(encoder, model, pairs, wanted, seed, tell=tell)
        folder = paths.encoders / version
        training.save(folder, encoder, adapted, pairs, config, seed)
        tracker.reached({"recall@10": adapted.after, "baseline/recall@10": adapted.before})
        tracker.artifacts(folder, "adapter")
    return {
        "folder": str(folder),
        "base": encoder.version,
        "pairs": pairs.counts(),
        "before": adapted.before,
        "after": adapted.after,
        "epochs": adapted.epochs,
    }


def texts_of(items: pa.Table) -> list[str]:
    """The texts of the catalogue's items, as they are encoded."""
    parts = (items[name].to_pylist() for name in ("title", "brand", "categories", "description"))
    return item_texts(*parts, [orjson.loads(text or "{}") for text in items["attributes"].to_pylist()])
