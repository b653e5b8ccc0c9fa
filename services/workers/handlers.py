"""What each kind of job does: one function a kind, each calling the services that do the work."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.core.errors import NotReady
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.core.storage import ObjectStorage
from services.core.types import JobKind
from services.db.checkpoints import get_checkpoint, set_checkpoint, transaction_horizon, users_with_events
from services.db.embeddings import users_holding_changed
from services.db.engagement import prune_engagement, served_positions
from services.db.impressions import prune_impressions
from services.db.item_states import replace_served_exposure
from services.db.pending import Reason, enqueue
from services.db.pending_items import enqueue_items_since
from services.db.query_feedback import prune_searches
from services.db.served_requests import prune_served_requests
from services.db.session import transaction
from services.db.store_marks import database_time
from services.features.snapshot import ItemSnapshot
from services.profiles.config import ProfileConfig
from services.profiles.engagement_drift import engagement_drift
from services.profiles.engagement_features import served_exposure
from services.profiles.engagement_tail import ITEMS_A_TICK, EngagementTail
from services.profiles.recompute import recompute_profiles
from services.profiles.recompute_report import RecomputeReport
from services.profiles.reference import POSITIONS
from services.profiles.reference_store import load_reference, refit_reference
from services.profiles.shared_recompute import Help
from services.search.item_terms_store import item_terms_of
from services.search.search_storage import publish_terms
from services.search.text.analyser import Analyser, AnalyserConfig
from services.workers.due import (
    FEATURES_CHECKPOINT,
    MATERIALIZE_CHECKPOINT,
    PROFILES_CHECKPOINT,
    SNAPSHOT_CHECKPOINT,
    SNAPSHOT_SOURCES_CHECKPOINT,
    SPACE_CHECKPOINT,
    catalogue_mark,
)
from services.workers.item_to_item import item_to_item
from services.workers.runner import Handler, Progress
from services.workers.search_index import bring_index, update_search

if TYPE_CHECKING:
    from services.encoders.encoder_set import EncoderSet
    from services.workers.stores import Stores

SERVED_WINDOW = timedelta(days=30)
PRUNED_AT_ONCE = 50_000
"""Impressions that one transaction deletes: whoever writes meanwhile waits for none of them."""
TICK_WAIT_S = 600.0
"""How long to wait for another worker that sums the items anew."""

BESIDE_THE_TAIL = ProfileConfig(users_per_chunk=256, events_per_chunk=25_000)
"""Small chunks: the states of a chunk are locked, and new events of its users wait for it."""

BESIDE = timedelta(seconds=10)
"""Feast compares times and then writes: items that changed while all were written are written again afterwards."""

OVERLAP = timedelta(seconds=5)
"""A vector's time is its transaction's start: one that committed later is found by looking back this far."""


class HandlerContext(Protocol):
    """What the handlers need of the worker."""

    addresses: Addresses
    paths: HomePaths
    settings: Settings
    encoder_names: list[str]
    search_language: str

    @property
    def engine(self) -> Engine: ...

    @property
    def storage(self) -> ObjectStorage | None: ...

    @property
    def encoders(self) -> "EncoderSet": ...

    @property
    def stores(self) -> "Stores": ...

    def call_for_help(self, run_id: UUID) -> None: ...


class Handlers:
    """The handlers of one worker process."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context

    def by_kind(self) -> dict[str, Handler]:
        """The handler of each kind of job."""
        return {
            JobKind.EMBEDDINGS.value: self.embeddings,
            JobKind.FEATURES.value: self.features,
            JobKind.PROFILES.value: self.profiles,
            JobKind.SNAPSHOT.value: self.snapshot,
            JobKind.SEARCH.value: self.search,
            JobKind.MATERIALIZE.value: self.materialize,
            JobKind.TRAIN.value: self.train,
        }

    def embeddings(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Vectors of new and changed items. `retry`: also of those whose pictures could not be fetched before."""
        from services.workers.embedding import embed_items  # noqa: PLC0415 - torch, on the queue that needs it

        context = self._context
        report = embed_items(context.engine, context.encoders, progress, retry=_flag(parameters, "retry"))
        with transaction(context.engine) as connection:
            encoders = context.encoders
            versions = {"text": encoders.text.version, "image": encoders.image.version}
            mark = {"encoders": context.encoder_names, "space": encoders.space, "versions": versions}
            set_checkpoint(connection, SPACE_CHECKPOINT, mark)
        return report.as_dict()

    def features(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Review sentiments, the shop's reference statistics, what Portrait showed, and the items' engagement; what is
        kept for a while only is pruned.

        `mode` = check: compare the engagement, which the tail keeps up to date, with a full recompute.
        """
        if parameters.get("mode") == "check":
            return asdict(engagement_drift(self._context.engine))
        from services.workers.reviews import score_reviews  # noqa: PLC0415 - torch, on the queue that needs it

        engine = self._context.engine
        as_of = datetime.now(UTC)
        with transaction(engine) as connection:
            horizon = transaction_horizon(connection)
        reviews = score_reviews(engine, lambda share: progress(0.5 * share))
        with transaction(engine) as connection:
            reference = refit_reference(connection, as_of)
        progress(0.6)
        with transaction(engine) as connection:
            served = served_positions(connection, as_of - SERVED_WINDOW, as_of, POSITIONS)
            replace_served_exposure(connection, served_exposure(served, reference))
        pruned = self._prune(as_of - timedelta(days=self._context.settings.retention_days))
        engagement = self._update_engagement()
        with transaction(engine) as connection:
            set_checkpoint(connection, FEATURES_CHECKPOINT, {"txid": horizon})
        return {"reviews": reviews, "reference_version": reference.version, "pruned": pruned, **engagement}

    def _prune(self, before: datetime) -> dict[str, int]:
        """Forget what was superseded, shown, ranked or searched before a time. How many rows of each."""
        engine = self._context.engine
        with transaction(engine) as connection:
            pruned = {
                "engagement": prune_engagement(connection, before),
                "served_requests": prune_served_requests(connection, before),
            }
        with transaction(engine) as connection:
            pruned["searches"] = prune_searches(connection, before)
        pruned["impressions"], gone = 0, PRUNED_AT_ONCE
        while gone == PRUNED_AT_ONCE:
            with transaction(engine) as connection:
                gone = prune_impressions(connection, before, PRUNED_AT_ONCE)
            pruned["impressions"] += gone
        return pruned

    def _update_engagement(self) -> dict[str, Any]:
        """Tick until no item waits: those whose reviews were scored are summed anew, some thousands a tick."""
        tail = EngagementTail(self._context.engine, self._context.stores.writer)
        rows = events = 0
        while True:
            tick = tail.tick(datetime.now(UTC), wait_s=TICK_WAIT_S)
            if tick.busy:
                raise NotReady(
                    "The items' engagement is being summed by another worker: run the features job again later"
                )
            rows, events = rows + tick.published, events + tick.entered
            if tick.rebuilt < ITEMS_A_TICK:
                return {"items": tick.items, "rows": rows, "events": events}

    def profiles(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Portraits of the users named by `user_ids`, touched `since` a time, changed (`mode`), or of all."""
        context = self._context
        if parameters.get("mode") == "changed":
            return self._changed_profiles(progress)
        user_ids = parameters.get("user_ids")
        since = datetime.fromisoformat(parameters["since"]) if parameters.get("since") else None
        everybody = user_ids is None and since is None
        with transaction(context.engine) as connection:
            mark = _profiles_mark(connection)
        report = recompute_profiles(
            context.engine,
            context.stores.writer,
            user_ids=user_ids,
            since=since,
            as_of=datetime.now(UTC),
            progress=progress,
            config=BESIDE_THE_TAIL,
            prune=everybody,
            keep_states=True,
            help_=Help("everybody", context.call_for_help),
        )
        with transaction(context.engine) as connection:
            if everybody:
                set_checkpoint(connection, PROFILES_CHECKPOINT, mark)
            elif user_ids:
                enqueue(connection, user_ids, Reason.REBUILD)  # takes them out of quarantine, if they are
        return _profiles_result(report)

    def _changed_profiles(self, progress: Progress) -> dict[str, Any]:
        from services.workers.reviews import score_reviews  # noqa: PLC0415 - torch, on the queue that needs it

        context = self._context
        score_reviews(context.engine, lambda share: progress(0.2 * share))
        with transaction(context.engine) as connection:
            mark = _profiles_mark(connection)
            earlier = get_checkpoint(connection, PROFILES_CHECKPOINT)
            user_ids = None if earlier is None else _changed_users(connection, earlier, mark)
        report = recompute_profiles(
            context.engine,
            context.stores.writer,
            user_ids=user_ids,
            as_of=datetime.now(UTC),
            progress=progress,
            config=BESIDE_THE_TAIL,
            prune=False,
            keep_states=True,
            from_states=True,
            help_=Help("everybody changed", context.call_for_help),
        )
        with transaction(context.engine) as connection:
            set_checkpoint(connection, PROFILES_CHECKPOINT, mark)
        return _profiles_result(report)

    def snapshot(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """A new item snapshot from Feast's item views, published for the gateways to swap in; the search index too."""
        context = self._context
        sources = context.stores.reader.snapshot_sources()
        with transaction(context.engine) as connection:
            set_checkpoint(connection, SNAPSHOT_SOURCES_CHECKPOINT, sources)
            mark = catalogue_mark(connection)
        tables = context.stores.reader.snapshot_tables()
        progress(0.4)
        pairs = item_to_item(context.engine, context.paths.snapshots, tables.items)
        progress(0.7)
        published = context.stores.publish_snapshot(replace(tables, co_engagement=pairs), self._make_terms)
        with transaction(context.engine) as connection:
            set_checkpoint(connection, SNAPSHOT_CHECKPOINT, mark)
        progress(0.9)
        index = bring_index(context.engine, context.paths.search, context.search_language, storage=context.storage)
        return {"version": published, "items": tables.items.num_rows, "pairs": pairs.num_rows, "search": index}

    def _make_terms(self, snapshot: Path) -> None:
        """What search's ranker knows of the titles, which every gateway would make for itself when it swaps."""
        context, opened = self._context, ItemSnapshot.open(snapshot)
        analyser = Analyser(AnalyserConfig(context.search_language))
        if context.storage is None:
            item_terms_of(opened, analyser, context.paths.search)
        else:
            publish_terms(opened, analyser, context.paths.search, context.storage)

    def search(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """The search index and what is known of queries, brought up to date. `mode` = all: made anew."""
        everything = parameters.get("mode") == "all"
        context = self._context
        return update_search(
            context.engine,
            context.paths,
            context.search_language,
            progress,
            everything=everything,
            storage=context.storage,
        )

    def materialize(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """The online store from Postgres through Feast: all of it, or what is new (`mode` = new)."""
        context = self._context
        with transaction(context.engine) as connection:
            mark = get_checkpoint(connection, PROFILES_CHECKPOINT)
            began = database_time(connection)
        result = context.stores.materialize(progress, everything=parameters.get("mode") != "new")
        with transaction(context.engine) as connection:
            enqueue_items_since(connection, began - BESIDE)
            if mark is not None:
                set_checkpoint(connection, MATERIALIZE_CHECKPOINT, mark)
        return {**result, "steps": result.pop("seconds")}

    def train(self, parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """A new version of the learned models, from everything that is stored.

        `what`: which; `config`, `seed`: how; `promote`: let it serve if it passes the gate.
        """
        from services.workers.training import SEARCH_RANKER, train_models  # noqa: PLC0415 - torch, on the queue for it

        context = self._context
        if parameters.get("what") == SEARCH_RANKER:
            from services.workers.search_training import train_search_ranker  # noqa: PLC0415 - as above

            return train_search_ranker(
                context.engine, context.settings, context.encoders, lambda: context.stores.reader, parameters, progress
            )
        return train_models(context.engine, context.settings, lambda: context.stores.reader, parameters, progress)


def _profiles_mark(connection: Any) -> dict[str, Any]:
    now: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return {
        "txid": transaction_horizon(connection),
        "vectors": (now - OVERLAP).isoformat(),
        "reference": load_reference(connection).version,
    }


def _changed_users(connection: Any, earlier: dict[str, Any], mark: dict[str, Any]) -> list[str] | None:
    """The users whose portraits may differ from `earlier` to `mark`; None: all, as their weights' reference changed."""
    if earlier["reference"] != mark["reference"]:
        return None
    moved = users_holding_changed(connection, datetime.fromisoformat(earlier["vectors"]))
    active = users_with_events(connection, from_txid=earlier["txid"], below_txid=mark["txid"])
    return sorted({*moved, *active})


def _profiles_result(report: RecomputeReport) -> dict[str, Any]:
    """The report with its seconds by step beside the job's own."""
    result = report.as_dict()
    return {**result, "steps": result.pop("seconds")}


def _flag(parameters: dict[str, Any], name: str) -> bool:
    return parameters.get(name) is True
