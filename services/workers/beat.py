"""Beat on a clock that may be set back.

Celery's scheduler compares the time of an entry's last run, kept over restarts, with the time now: after the clock was
set back by an hour nothing would be asked for during that hour, neither a successor of a tail that died nor a snapshot.
"""

from celery.beat import PersistentScheduler

from services.core.logging import get_logger

log = get_logger("workers")


class ForwardScheduler(PersistentScheduler):
    """Takes a last run that lies ahead for one that is just over, and plans all entries anew."""

    def tick(self, *args: object, **kwargs: object) -> float:
        """As Celery's: seconds until the next look."""
        ahead = [entry for entry in self.schedule.values() if entry.last_run_at > entry.default_now()]
        if ahead:
            log.warning("clock-set-back", entries=len(ahead))
            for entry in ahead:
                entry.last_run_at = entry.default_now()
            self._heap = None  # the times planned are those of the other clock
        return super().tick(*args, **kwargs)
