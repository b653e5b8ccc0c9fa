"""The gateway's Prometheus metrics: each name, unit and bucket written once."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.012, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Bucket bounds in seconds for work of a tenth of a millisecond to seconds."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServingMetrics:
    """What one gateway process counts. Build one a process; tests build their own."""

    def __init__(self) -> None:
        # Feast switches prometheus_client to files shared between processes, for itself and every child process. Ours
        # are one process's: in files they would outlive their registry, and each count would be a write to a map.
        values.ValueClass = values.MutexValue
        self.registry = CollectorRegistry()
        self._requests()
        self._lists()
        self._load()
        self._snapshot()
        self._search()
        self._stage_children: dict[str, Histogram] = {}

    def observe_stages(self, seconds: dict[str, float]) -> None:
        """Count the time of each stage of one request. Children are kept: looking them up costs as much as counting."""
        for stage, value in seconds.items():
            child = self._stage_children.get(stage)
            if child is None:
                child = self._stage_children[stage] = self.stages.labels(stage)
            child.observe(value)

    def add(self, collector: Collector) -> None:
        """Report what `collector` reads elsewhere as well."""
        self.registry.register(collector)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _requests(self) -> None:
        self.requests = Counter(
            "portrait_http_requests_total", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "portrait_http_request_seconds", "Time in the gateway", ["route"], buckets=FAST, registry=self.registry
        )
        self.stages = Histogram(
            "portrait_stage_seconds",
            "Time of one stage of the hot path",
            ["stage"],
            buckets=FAST,
            registry=self.registry,
        )
        self.events = Counter(
            "portrait_events_total",
            "Events by outcome: accepted, duplicate, rejected",
            ["outcome"],
            registry=self.registry,
        )

    def _lists(self) -> None:
        self.candidates = Histogram(
            "portrait_candidates",
            "Candidates ranked for one request",
            buckets=(0, 10, 50, 100, 200, 300, 400, 500, 1000),
            registry=self.registry,
        )
        self.degraded = Counter(
            "portrait_degraded_requests_total",
            "Answers made while the online store did not answer, was emptied or is being rebuilt",
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "portrait_fallback_requests_total",
            "Lists by declared fallback, because portraits were older than the surface's budget",
            ["surface", "reason", "ranking"],
            registry=self.registry,
        )
        self.expired = Counter(
            "portrait_expired_features_total",
            "Features replaced by their declared default, because they were older than their view's TTL",
            ["view"],
            registry=self.registry,
        )
        self.impressions = Counter(
            "portrait_impressions_total", "Impressions by outcome: written, lost", ["outcome"], registry=self.registry
        )
        self.logged_requests = Counter(
            "portrait_logged_requests_total",
            "Lists whose features were to be kept, by outcome: written, lost",
            ["outcome"],
            registry=self.registry,
        )

    def _load(self) -> None:
        self.shed = Counter(
            "portrait_shed_requests_total",
            "Requests told to come back: by reason (room, delay, reads, writes, bytes, rate)",
            ["reason"],
            registry=self.registry,
        )
        self.inflight = Gauge(
            "portrait_inflight_requests", "Requests being answered, by budget", ["budget"], registry=self.registry
        )
        self.delay = Histogram(
            "portrait_queueing_seconds",
            "How long requests of the hot path had waited when they reached the gateway",
            buckets=FAST,
            registry=self.registry,
        )

    def _snapshot(self) -> None:
        self.snapshot_items = Gauge("portrait_snapshot_items", "Items in the snapshot served", registry=self.registry)
        self.snapshot_created = Gauge(
            "portrait_snapshot_created_seconds", "When the snapshot served was built, epoch s", registry=self.registry
        )
        self.shadow = Counter(
            "portrait_shadow_requests_total",
            "Requests computed by the shadow model too: computed, left-out, failed",
            ["outcome"],
            registry=self.registry,
        )
        self.shadow_overlap = Histogram(
            "portrait_shadow_overlap",
            "Share of the first ten items that shadow and served list have in common",
            buckets=[n / 10 for n in range(11)],
            registry=self.registry,
        )
        self.model_failures = Counter(
            "portrait_model_failures_total", "Models that were refused: the old ones serve on", registry=self.registry
        )
        self.snapshot_failures = Counter(
            "portrait_snapshot_failures_total", "Snapshots that could not be opened", registry=self.registry
        )

    def _search(self) -> None:
        self.searches = Counter(
            "portrait_searches_total",
            "Answered searches by how they were made: hybrid, lexical, semantic",
            ["mode"],
            registry=self.registry,
        )
        self.empty_searches = Counter(
            "portrait_empty_searches_total", "Searches that found nothing", registry=self.registry
        )
        self.query_vectors = Counter(
            "portrait_query_vectors_total",
            "Queries by how their vector came: cached, encoded, late, left-alone, failed, other-space",
            ["outcome"],
            registry=self.registry,
        )
        self.encoding = Histogram(
            "portrait_query_encoding_seconds",
            "Time until the encoder answered, for queries that were not in the cache",
            buckets=FAST,
            registry=self.registry,
        )
        self.query_cache_size = Gauge("portrait_query_cache_size", "Query vectors in the cache", registry=self.registry)
        self.encoder_circuit = Gauge(
            "portrait_encoder_circuit_open", "1 while the query encoder is left alone", registry=self.registry
        )
        self.cross_scores = Counter(
            "portrait_cross_scores_total",
            "Searches whose leading results a cross-encoder was asked to score, by how the scores came",
            ["outcome"],
            registry=self.registry,
        )
        self.cross_scoring = Histogram(
            "portrait_cross_scoring_seconds",
            "Time until the cross-encoder answered, for lists that were not in the cache",
            buckets=FAST,
            registry=self.registry,
        )
        self.search_index_items = Gauge(
            "portrait_search_index_items", "Items in the search index served", registry=self.registry
        )
        self.search_ranker_failures = Counter(
            "portrait_search_ranker_failures_total",
            "Trained search rankers that were refused: the untrained one serves",
            registry=self.registry,
        )
        self.search_index_failures = Counter(
            "portrait_search_index_failures_total",
            "Search indexes and query memories that could not be opened: the old ones serve on",
            registry=self.registry,
        )
