"""Who is let in when more is asked than can be answered; the rest is told to come back, before its body is read.

Two budgets, so that neither kind of work can keep out the other: what is answered from memory and the online store
(reads), and what waits for PostgreSQL (writes). Reads are computed one after the other, so what one of them would wait
for can be told: how long it has waited already, and the work admitted before it. Following "controlled delay" (Nichols
and Jacobson 2012; Maurer, "Fail at Scale", 2015), a short burst may wait ten times as long as a standing queue.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

MIB = 1 << 20


class Budget(StrEnum):
    READS = "reads"
    WRITES = "writes"


class Refusal(StrEnum):
    """Why a request was not let in."""

    DELAY = "delay"
    """It would have waited too long."""
    READS = "reads"
    WRITES = "writes"
    """Too many of its kind are under way."""
    BYTES = "bytes"
    """The bodies of the writes under way would fill too much memory."""


@dataclass(frozen=True)
class GateConfig:
    """`target_delay_s`: what a request may wait for while there is a standing queue, `burst_delay_s` while there is
    none; the delay seen by arriving requests is averaged over `memory_s`. `reads`, `writes` and `write_bytes` bound
    what is under way, whatever the delay."""

    target_delay_s: float = 0.008
    burst_delay_s: float = 0.08
    memory_s: float = 0.2
    reads: int = 256
    writes: int = 64
    write_bytes: int = 64 * MIB
    first_service_s: float = 0.002
    """The time of one read until the first ones have been measured."""


class Gate:
    """Counts what is under way in this process and says who may come in. Used on the event loop's thread alone."""

    def __init__(self, config: GateConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = GateConfig() if config is None else config
        self._clock = clock
        self._service = self.config.first_service_s
        self._pressure = 0.0
        self._seen = clock()
        self.reads = self.writes = self.bytes = 0

    @property
    def crowded(self) -> bool:
        """Whether arriving requests have lately found a standing queue."""
        return self._pressure > self.config.target_delay_s / 2

    def enter(self, budget: Budget, waited: float = 0.0, size: int = 0) -> Refusal | None:
        """None lets the request in: call `leave` when it is answered. `waited`: seconds since it arrived at this
        machine; `size`: bytes of its body."""
        return self._enter_read(waited) if budget is Budget.READS else self._enter_write(size)

    def leave(self, budget: Budget, size: int = 0) -> None:
        """A request that was let in has been answered, or its caller has gone."""
        if budget is Budget.READS:
            self.reads -= 1
        else:
            self.writes -= 1
            self.bytes -= size

    def served(self, seconds: float) -> None:
        """A read took this long to compute. One of hundreds that was interrupted must not count for much."""
        self._service += 0.05 * (min(seconds, 10 * self._service) - self._service)

    def _enter_read(self, waited: float) -> Refusal | None:
        expected = waited + self.reads * self._service
        now = self._clock()
        self._pressure += (expected - self._pressure) * -math.expm1((self._seen - now) / self.config.memory_s)
        self._seen = now
        if self.reads >= self.config.reads:
            return Refusal.READS
        if expected > (self.config.target_delay_s if self.crowded else self.config.burst_delay_s):
            return Refusal.DELAY
        self.reads += 1
        return None

    def _enter_write(self, size: int) -> Refusal | None:
        if self.writes >= self.config.writes:
            return Refusal.WRITES
        if self.writes and self.bytes + size > self.config.write_bytes:
            return Refusal.BYTES
        self.writes += 1
        self.bytes += size
        return None
