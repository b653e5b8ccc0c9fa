"""What the routes of one gateway process share, and how it is put together and taken down."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from services.core.addresses import Addresses
from services.core.metrics import ServingMetrics
from services.core.paths import HomePaths
from services.core.settings import Settings
from services.db.searches import recent_queries
from services.db.session import make_engine
from services.features.online.live_status import LiveStatus
from services.features.online.reader import OnlineReader
from services.ingest.event_writer import EventWriter, WriterConfig
from services.search.config import search_config
from services.serve.cross_scores import CrossScores
from services.serve.database import THREADS, Database
from services.serve.encoder_client import RemoteEncoder
from services.serve.impressions import ImpressionWriter
from services.serve.live import LiveWatch
from services.serve.live_metrics import LiveMetrics
from services.serve.mirror import Mirror, start_mirror
from services.serve.photos import Photos
from services.serve.portraits import Portraits
from services.serve.query_vectors import QueryVectors
from services.serve.recent_queries import KEPT_QUERIES, RecentQueries
from services.serve.search_serving import SearchFiles
from services.serve.serving import SnapshotWatcher
from services.serve.shadow import ShadowScorer
from services.serve.surfaces import Surfaces
from services.workers.dispatch import Dispatcher

STATEMENT_TIMEOUT_MS = 30_000
EVENTS_TIMEOUT_MS = 10_000
RECENT = timedelta(days=30)
"""How far back what a user asked is suggested again."""


@dataclass(frozen=True)
class State:
    """The process's wiring."""

    settings: Settings
    metrics: ServingMetrics
    database: Database
    events: EventWriter
    store: OnlineReader
    live: LiveWatch
    surfaces: Surfaces
    portraits: Portraits
    snapshots: SnapshotWatcher
    impressions: ImpressionWriter
    dispatcher: Dispatcher
    shadow: ShadowScorer
    query_vectors: QueryVectors
    cross_scores: CrossScores
    photos: Photos
    recent_queries: RecentQueries
    mirror: Mirror | None = None

    def close(self) -> None:
        """Write what is buffered and give everything back."""
        self.live.close()
        if self.mirror is not None:
            self.mirror.close()
        self.snapshots.close()
        self.shadow.close()
        self.impressions.close()
        self.events.close()
        self.database.close()


def open_state(settings: Settings, addresses: Addresses) -> State:
    """Connect to everything, and open and warm the snapshot. Servers that are down now may come up later."""
    metrics = ServingMetrics()
    engine: Engine = make_engine(
        addresses.sqlalchemy_url, pool_size=THREADS + 1, statement_timeout_ms=STATEMENT_TIMEOUT_MS
    )
    store = OnlineReader(addresses)
    live = LiveWatch(LiveStatus(addresses))
    metrics.add(LiveMetrics(live))
    live.start()
    paths = HomePaths(settings.home)
    mirror = start_mirror(paths, settings.storage_url)
    encoder = RemoteEncoder(settings.home)
    search = SearchFiles(
        paths.search,
        paths.suggest,
        metrics,
        search_config(settings),
        on_first=encoder.warm,
        rankers=paths.search_rankers,
        rerank=settings.search_rerank_ms > 0,
    )
    snapshots = SnapshotWatcher(paths.snapshots, metrics, paths.models, search)
    snapshots.start()
    database = Database(engine)
    return State(
        settings=settings,
        metrics=metrics,
        database=database,
        events=_event_writer(addresses),
        store=store,
        live=live,
        surfaces=Surfaces(settings.surfaces),
        portraits=Portraits(store, metrics, lambda: live.now),
        snapshots=snapshots,
        shadow=ShadowScorer(metrics),
        impressions=ImpressionWriter(engine, metrics),
        dispatcher=Dispatcher(addresses.broker_url),
        mirror=mirror,
        query_vectors=QueryVectors(encoder.text, metrics),
        cross_scores=CrossScores(encoder.cross_scores, metrics, settings.search_rerank_ms / 1000),
        photos=Photos(encoder.photo),
        recent_queries=RecentQueries(lambda user_id: _recent(database, user_id)),
    )


async def _recent(database: Database, user_id: str) -> list[str] | None:
    since = datetime.now(UTC) - RECENT
    return await database.run(lambda connection: recent_queries(connection, user_id, since, KEPT_QUERIES))


def _event_writer(addresses: Addresses) -> EventWriter:
    """The writer with connections of its own: nothing else that waits for PostgreSQL can keep events from it."""
    config = WriterConfig()
    url = addresses.sqlalchemy_url
    return EventWriter(make_engine(url, pool_size=config.connections, statement_timeout_ms=EVENTS_TIMEOUT_MS), config)
