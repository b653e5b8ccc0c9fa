"""When a part that ended is started again, and when it is given up."""

from dataclasses import dataclass

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
STEADY_S = 60.0
"""A part that ran this long was in order: its earlier quick ends are forgotten."""
QUICK_ENDS = 5
"""So many quick ends in a row make a part failed."""


@dataclass
class Restarts:
    """The restart account of one part. Times are seconds of a monotonic clock."""

    total: int = 0
    quick: int = 0
    due: float | None = None
    """When to start it next; None while it runs or after it was given up."""

    @property
    def failed(self) -> bool:
        return self.quick >= QUICK_ENDS

    def ended(self, ran_s: float, now: float) -> None:
        """The part ended after `ran_s` seconds: plan its restart with doubled delay, or give it up."""
        self.quick = 1 if ran_s >= STEADY_S else self.quick + 1
        if self.failed:
            self.due = None
            return
        self.due = now + min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (self.quick - 1))

    def started(self) -> None:
        """The planned restart was made."""
        self.total += 1
        self.due = None
