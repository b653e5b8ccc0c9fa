"""Who is let in when more is asked than can be answered; the rest is told to come back, before its body is read.

Two budgets, so that neither kind of work can keep out the other: what is answered from memory and the online store
(reads), and what waits for PostgreSQL (writes). Reads are computed one after the other, so what one of them would wait
for can be told: how long it has waited already, and the work admitted before it. Following "controlled delay" (Nichols
and Jacobson 2012; Maurer, "Fail at Scale", 2015), a short burst may wait ten times as long as a standing queue.
"""

import math
import time
from collections import deque
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
    """How long a read may wait while there is a standing queue: for `target_queue` others, or for `target_delay_s`
    where others take next to no time; `burst_factor` times as long while there is none. There is one while arriving
    reads have to wait for `crowded_queue` others, or `crowded_delay_s`, on average over `memory_s`.

    `room` and `burst_room` are how many reads the proxy in front may let in at once, with and without a standing queue:
    it refuses at less cost, so it does so first. Once it refuses more than `tolerated_refusals` within about
    `refusal_memory_s`, places in line make nobody faster and only add to everybody's wait: it keeps `short_room`, just
    enough that there is always one to compute. `reads`, `writes` and `write_bytes` bound what is under way in any
    case."""

    target_queue: float = 12.0
    target_delay_s: float = 0.008
    burst_factor: float = 10.0
    crowded_queue: float = 3.0
    crowded_delay_s: float = 0.002
    room: int = 8
    burst_room: int = 80
    short_room: int = 4
    memory_s: float = 0.2
    tolerated_refusals: float = 5.0
    refusal_memory_s: float = 1.0
    reads: int = 256
    writes: int = 64
    write_bytes: int = 64 * MIB
    first_pace_s: float = 0.002
    """The time of one read until the first ones have been measured."""


class Gate:
    """Counts what is under way in this process and says who may come in. Used on the event loop's thread alone."""

    def __init__(self, config: GateConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = GateConfig() if config is None else config
        self._clock = clock
        self._pace = self.config.first_pace_s
        self._answered_at: float | None = None
        self._pressure = 0.0
        self._seen = self._refused_at = clock()
        self._refused = 0.0
        self._arrivals: deque[float] = deque(maxlen=max(1, round(self.config.target_queue)))
        self.reads = self.writes = self.bytes = 0

    @property
    def target_s(self) -> float:
        """What a read may wait for while there is a standing queue."""
        return max(self.config.target_delay_s, self.config.target_queue * self._pace)

    @property
    def room(self) -> int:
        """How many reads may be under way at once just now."""
        if self._lately_refused() > self.config.tolerated_refusals:
            return self.config.short_room
        return self.config.room if self.crowded else self.config.burst_room

    @property
    def crowded(self) -> bool:
        """Whether arriving reads have lately found a standing queue."""
        return self._pressure > max(self.config.crowded_delay_s, self.config.crowded_queue * self._pace)

    def refused(self, count: int) -> None:
        """The proxy in front has refused so many reads since it last said so."""
        self._refused, self._refused_at = self._lately_refused() + count, self._clock()

    def _lately_refused(self) -> float:
        return self._refused * math.exp(min(0.0, self._refused_at - self._clock()) / self.config.refusal_memory_s)

    def enter(self, budget: Budget, waited: float = 0.0, size: int = 0, *, guarded: bool = False) -> Refusal | None:
        """None lets the request in: call `leave` when it is answered. `waited`: seconds since it arrived at this
        machine; `size`: bytes of its body; `guarded`: a proxy in front keeps to `room`."""
        return self._enter_read(waited, guarded) if budget is Budget.READS else self._enter_write(size)

    def leave(self, budget: Budget, size: int = 0, computed: float | None = None) -> None:
        """A request that was let in has been answered, or its caller has gone. `computed`: seconds a read took."""
        if budget is Budget.READS:
            self.reads -= 1
            self._keep_pace(computed)
        else:
            self.writes -= 1
            self.bytes -= size

    def _keep_pace(self, computed: float | None) -> None:
        """How much later each further read is answered: while one follows the other the time between their ends, which
        has in it whatever else this process does (or does not get to do), else what the read itself took."""
        now = self._clock()
        seconds = computed if self._answered_at is None else now - self._answered_at
        if seconds is not None:
            self._pace += 0.05 * (min(seconds, 10 * self._pace) - self._pace)  # one interruption is not the pace
        self._answered_at = now if self.reads else None

    def _enter_read(self, waited: float, guarded: bool) -> Refusal | None:
        expected = waited + self.reads * self._pace
        now = self._clock()
        self._pressure += (expected - self._pressure) * -math.expm1((self._seen - now) / self.config.memory_s)
        self._seen = now
        self._arrivals.append(now)
        if self.reads >= self.config.reads:
            return Refusal.READS
        strict = self.crowded and not guarded  # what the proxy let in is not refused for having waited a little
        limit = self.target_s * (1.0 if strict else self.config.burst_factor)
        if expected > limit and self._queued(now, expected):
            return Refusal.DELAY
        self.reads += 1
        return None

    def _queued(self, now: float, expected: float) -> bool:
        """Whether others are what a read waits for: as many came meanwhile as may stand in line. Where they did not,
        the machine is slow just now, and refusing one of few callers would make nobody faster."""
        full = len(self._arrivals) == self._arrivals.maxlen
        return full and now - self._arrivals[0] <= max(expected, self.config.memory_s)

    def _enter_write(self, size: int) -> Refusal | None:
        if self.writes >= self.config.writes:
            return Refusal.WRITES
        if self.writes and self.bytes + size > self.config.write_bytes:
            return Refusal.BYTES
        self.writes += 1
        self.bytes += size
        return None
