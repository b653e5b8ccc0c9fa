"""When a part that ended is started again, and when it counts as failed."""

from dataclasses import dataclass

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
FAILED_DELAY_S = 60.0
"""A failed part is tried again after so long: what it lacked (room on a disk, a server) may be there by then."""
STEADY_S = 10.0
"""A part that worked this long was in order: its earlier quick ends are forgotten."""
QUICK_ENDS = 5
"""So many quick ends in a row make a part failed."""


@dataclass
class Restarts:
    """The restart account of one part. Times are seconds of a monotonic clock."""

    total: int = 0
    quick: int = 0
    due: float | None = None
    """When to start it next; None while it runs."""

    @property
    def failed(self) -> bool:
        return self.quick >= QUICK_ENDS

    def ended(self, worked_s: float, now: float) -> None:
        """The part ended `worked_s` seconds after it was ready (0: it never was): plan its restart, after twice the
        delay of the time before, or once a minute when it has failed."""
        self.quick = 1 if worked_s >= STEADY_S else self.quick + 1
        delay = FAILED_DELAY_S if self.failed else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (self.quick - 1))
        self.due = now + delay

    def started(self) -> None:
        """The planned restart was made."""
        self.total += 1
        self.due = None
