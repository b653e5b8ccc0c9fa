"""What the tails report, among the gateway's metrics: labelled by owner, so that counters of one never go back."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.features.online.live_status import TailReading
from services.serve.live import DEGRADED, LiveWatch, StoreStatus

GAUGES = {
    "lag_events": "Events seen that are in no portrait yet",
    "lag_seconds": "For how long the oldest of them has waited",
    "partitions": "Partitions of users that this tail owns, of 16",
    "pending_rebuild": "Users whose portraits are to be made again",
    "pending_publish": "Users whose portraits are to be written online again",
    "items_lag_seconds": "How long ago item engagement was brought up to date; 0 in a process that looks on",
    "items_tick_seconds": "How long its last update took",
}
COUNTERS = {
    "ticks": "Ticks",
    "events": "Events folded into portraits",
    "users": "Portraits updated",
    "rebuilt": "Portraits made from all events",
    "published": "Portraits written online again",
    "publish_failures": "Times that the online store did not take portraits",
    "quarantined": "Users put aside because their events raise",
    "failures": "Ticks that failed",
    "items_ticks": "Updates of item engagement",
    "items_events": "Events counted in item engagement",
    "items_published": "Items whose engagement was written",
    "items_failures": "Updates of item engagement that failed",
}


class LiveMetrics(Collector):
    """Reads what the watch keeps."""

    def __init__(self, watch: LiveWatch) -> None:
        self._watch = watch

    def describe(self) -> list[Metric]:
        return []  # names are not looked for at registration

    def collect(self) -> Iterator[Metric]:
        live = self._watch.now
        status = GaugeMetricFamily("portrait_online_store", "1 for the state of the online store", labels=["status"])
        for each in StoreStatus:
            status.add_metric([each.value], float(live.status is each))
        yield status
        yield GaugeMetricFamily(
            "portrait_online_store_degraded", "Whether portraits may be missing", value=float(live.status in DEGRADED)
        )
        yield GaugeMetricFamily(
            "portrait_profile_lag_seconds", "How old events may be that no portrait holds yet", value=live.lag_s
        )
        reports = (*live.tails, *live.items)
        for name, text in GAUGES.items():
            gauge = GaugeMetricFamily(f"portrait_tail_{name}", text, labels=["owner"])
            _add(gauge, name, reports)
            yield gauge
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"portrait_tail_{name}", text, labels=["owner"])
            _add(counter, name, reports)
            yield counter
        yield _freshness(live.tails)


def _add(family: GaugeMetricFamily | CounterMetricFamily, name: str, reports: Iterable[TailReading]) -> None:
    for report in reports:
        if name in report.numbers:
            family.add_metric([report.owner], report.numbers[name])


def _freshness(tails: tuple[TailReading, ...]) -> Metric:
    family = HistogramMetricFamily(
        "portrait_event_to_portrait_seconds", "From an event's arrival to its portrait online", labels=["owner"]
    )
    for tail in tails:
        if not tail.counts:
            continue
        buckets, upto = [], 0
        for bound, count in zip([*map(str, tail.bounds), "+Inf"], tail.counts, strict=True):
            upto += count
            buckets.append((bound, upto))
        family.add_metric([tail.owner], buckets, tail.total)
    return family
