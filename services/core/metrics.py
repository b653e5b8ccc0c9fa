"""The gateway's Prometheus metrics: each name, unit and bucket written once."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.012, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Bucket bounds in seconds for work of a tenth of a millisecond to seconds."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServingMetrics:
    """What one gateway process counts. Build one a process; tests build their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.candidates = Histogram(
            "portrait_candidates",
            "Candidates ranked for one request",
            buckets=(0, 10, 50, 100, 200, 300, 400, 500, 1000),
            registry=self.registry,
        )
        self.degraded = Counter(
            "portrait_degraded_requests_total",
            "Lists answered without the online store, as for an unknown user",
            registry=self.registry,
        )
        self.impressions = Counter(
            "portrait_impressions_total", "Impressions by outcome: written, lost", ["outcome"], registry=self.registry
        )
        self.events = Counter(
            "portrait_events_total",
            "Events by outcome: accepted, duplicate, rejected",
            ["outcome"],
            registry=self.registry,
        )
        self.snapshot_items = Gauge("portrait_snapshot_items", "Items in the snapshot served", registry=self.registry)
        self.snapshot_created = Gauge(
            "portrait_snapshot_created_seconds", "When the snapshot served was built, epoch s", registry=self.registry
        )
        self.snapshot_failures = Counter(
            "portrait_snapshot_failures_total", "Snapshots that could not be opened", registry=self.registry
        )

        self._stage_children: dict[str, Histogram] = {}

    def observe_stages(self, seconds: dict[str, float]) -> None:
        """Count the time of each stage of one request. Children are kept: looking them up costs as much as counting."""
        for stage, value in seconds.items():
            child = self._stage_children.get(stage)
            if child is None:
                child = self._stage_children[stage] = self.stages.labels(stage)
            child.observe(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
