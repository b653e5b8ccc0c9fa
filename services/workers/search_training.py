"""Training the search ranker as a job: from the clicks that searches led to, or from a file of judgements."""

import importlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Engine

from services.core.clock import utc_now
from services.core.errors import InvalidInput
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.registry.manifest import DataRange
from services.registry.storage import open_search_registry
from services.search.features import FEATURES
from services.search.judged import ResultList, list_features
from services.search.query_memory import FILE as MEMORY
from services.search.query_memory import BoundMemory, QueryMemory
from services.search.ranker import untrained_vector
from services.workers.clicked_lists import clicked_lists, pair_texts
from services.workers.promotion import published
from services.workers.runner import Progress
from services.workers.search_shop import SearchShop, open_shop

if TYPE_CHECKING:
    from services.encoders.encoder_set import EncoderSet
    from services.features.offline.reader import OfflineReader

PUBLISH = "training.search_publish"
"""The module that does the work, loaded by name: services do not depend on training."""
STEPS_EXPECTED = 100
"""Epochs of all members."""


def train_search_ranker(
    engine: Engine,
    settings: Settings,
    encoders: "EncoderSet",
    history: Callable[[], "OfflineReader"],
    parameters: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Train, publish and perhaps promote a search ranker. `judgements`: a file to learn from instead of clicks;
    `cross_encoder`: whether to teach one as well.

    Raises:
        InvalidInput: a parameter that cannot be, or judgements of products that the shop does not have.
        NotReady: there is no search index yet, or too little to learn from.
    """
    seed, file = parameters.get("seed", 0), parameters.get("judgements")
    if not isinstance(seed, int) or not (file is None or isinstance(file, str)):
        raise InvalidInput("`seed` is a whole number and `judgements` the path of a file")
    publish, paths = importlib.import_module(PUBLISH), HomePaths(settings.home)
    shop = open_shop(settings, encoders)
    data = _judged(publish, shop, Path(file)) if file else clicked_lists(publish, shop, engine, history, seed)
    progress(0.5)
    steps = iter(range(1, 1_000_000))

    def tell(figures: dict[str, float]) -> None:
        if "of" in figures:  # a step of the cross-encoder
            progress(0.7 + 0.25 * figures["step"] / figures["of"])
        else:
            progress(min(0.7, 0.5 + 0.2 * next(steps) / STEPS_EXPECTED))

    registry = open_search_registry(paths, settings.storage_url)
    manifest = publish.train_and_publish(
        data,
        registry,
        seed=seed,
        space=shop.snapshot.space,
        snapshot=shop.snapshot.version,
        encoders={"text": encoders.text.version},
        tell=tell,
        tracking=publish.TrackingConfig(paths.tracking, settings.mlflow_tracking_uri),
        encoder=encoders.text if parameters.get("cross_encoder") else None,
    )
    return {"lists": len(data.lists)} | published(registry, manifest, promote=bool(parameters.get("promote")))


def _judged(publish: Any, shop: SearchShop, file: Path) -> Any:
    """The lists of a file, of the products that the shop has, as search would rank them for nobody in particular."""
    judged = publish.read_judgements(file)
    row = shop.snapshot.indices(judged.items["item_id"].to_list())[judged.item]
    if (row >= 0).mean() < 0.5:
        raise InvalidInput(
            f"{file.name}: only {int((row >= 0).sum()):,} of {len(row):,} judgements are of products that the shop "
            "has: import these products first"
        )
    known, owner = np.flatnonzero(row >= 0), judged.owner
    starts = np.concatenate(([0], np.cumsum(np.bincount(owner[known], minlength=len(judged.queries)))))
    memory = QueryMemory.read(shop.search) if (shop.search / MEMORY).is_file() else None
    pipeline = shop.pipeline.with_memory(None if memory is None else BoundMemory(memory, shop.snapshot))
    vectors = shop.vectors_of(pipeline, judged.queries)
    items = [row[known][first:last].astype(np.int32) for first, last in pairwise(starts.tolist())]
    lists = [ResultList(*each) for each in zip(judged.queries, items, vectors, strict=True)]
    made = list_features(pipeline, shop.terms, lists, utc_now().timestamp())
    graded = publish.GradedLists(made.features, judged.gain[known], starts)
    today = utc_now().date().isoformat()
    data = DataRange(
        events=len(known),
        users=0,
        items=len(np.unique(row[known])),
        first=today,
        last=today,
        target="judgement",
        digest=publish.digest_of(graded),
    )
    texts = pair_texts(publish, shop, made.searched, row[known].astype(np.int32))
    query = np.arange(len(judged.queries))
    return publish.SearchData(judged.source, graded, query, FEATURES, untrained_vector(), data, texts)
