"""A model computed beside the one that answers, on a share of requests, to see how differently it would."""

import queue
import threading
from dataclasses import dataclass

from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.features.portrait import Portrait
from services.recommend.request import RecommendationRequest
from services.serve.buckets import in_share
from services.serve.serving import Serving

WAITING = 8
"""Requests that wait to be computed; more are left out, so that a slow shadow delays nobody."""
COMPARED = 10

log = get_logger("gateway")


@dataclass(frozen=True)
class _Asked:
    serving: Serving
    portrait: Portrait
    request: RecommendationRequest
    now: float
    served: frozenset[str]


class ShadowScorer:
    """One thread that answers requests again with the shadow model and counts how much of the list is the same."""

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics
        self._queue: queue.Queue[_Asked | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(
        self,
        serving: Serving,
        portrait: Portrait,
        request: RecommendationRequest,
        now: float,
        request_id: str,
        served: list[str],
    ) -> None:
        """Compute this request too, if it is one of the share and there is room."""
        if serving.shadow is None or not in_share(request_id, serving.rollout.shadow_share):
            return
        try:
            self._queue.put_nowait(_Asked(serving, portrait, request, now, frozenset(served[:COMPARED])))
        except queue.Full:
            self._metrics.shadow.labels("left-out").inc()

    def close(self) -> None:
        """End the thread; what waits is dropped."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # a daemon: it ends with the process
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while (asked := self._queue.get()) is not None:
            try:
                self._compare(asked)
            except (PortraitError, ValueError, ArithmeticError, LookupError) as error:
                self._metrics.shadow.labels("failed").inc()
                log.warning("shadow-failed", error=str(error), kind=type(error).__name__)

    def _compare(self, asked: _Asked) -> None:
        assert asked.serving.shadow is not None  # `offer` looked
        found = asked.serving.shadow.recommend(asked.portrait, asked.request, asked.now).item_ids[:COMPARED]
        together = max(len(found), len(asked.served))
        if together:
            self._metrics.shadow_overlap.observe(len(asked.served & set(found)) / together)
        self._metrics.shadow.labels("computed").inc()
