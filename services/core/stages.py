"""A stopwatch for the stages of one request."""

import time


class Stages:
    """Seconds of each named stage, in order. `lap` ends the stage that began where the last one ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def skip(self) -> None:
        """What went by since the last lap belongs to no stage."""
        self._last = time.perf_counter()

    @property
    def total(self) -> float:
        return sum(self.seconds.values())
