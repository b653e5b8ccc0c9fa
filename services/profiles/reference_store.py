"""The stored reference statistics of a shop: read the ones in force, refit them from its events."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection

from services.db.checkpoints import get_checkpoint, set_checkpoint
from services.db.pending import Reason, enqueue_updated_since
from services.db.reference import event_volume, item_groups, read_reference, sample_events, write_reference
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_fit import fit_reference

FIT_WINDOW = timedelta(days=180)
SAMPLE_ROWS = 1_000_000
REFERENCE = "reference"
"""The checkpoint of the last fit: `at` (ISO 8601), and of how many `events` it was."""
FEW = 100_000
AGAIN, GROWN = timedelta(days=1), 1.05
"""More than a `FEW` events are read again after a day, or when there are so many times as many."""
SMALLEST_CHANGE = 0.05
"""Relative change of a statistic below which the old version stays: each new one recomputes every profile."""


def load_reference(connection: Connection, version: int | None = None) -> ReferenceStatistics:
    """The newest stored statistics (or of one version); the defaults where nothing was stored yet."""
    stored = read_reference(connection, version)
    return ReferenceStatistics.defaults() if stored is None else ReferenceStatistics.from_json(stored[1], stored[0])


def refit_reference(connection: Connection, as_of: datetime) -> ReferenceStatistics:
    """Fit the statistics to a sample of the last half year and store them as a new version if they changed notably.

    Returns the statistics in force afterwards. A new version has every portrait made anew. The prior of every fit is
    the defaults, so that fits do not drift. A fit that was made lately of about as many events stands.
    """
    since = as_of - FIT_WINDOW
    volume = event_volume(connection, since, as_of)
    if _stands(get_checkpoint(connection, REFERENCE), volume, as_of):
        return load_reference(connection)
    set_checkpoint(connection, REFERENCE, {"at": as_of.isoformat(), "events": volume})
    share = min(1.0, SAMPLE_ROWS / max(volume, 1))
    fitted = fit_reference(sample_events(connection, since, as_of, share), item_groups(connection), as_of=as_of)
    current = load_reference(connection)
    if current.version and not differs(current, fitted):
        return current
    version = write_reference(connection, fitted.to_json())
    enqueue_updated_since(connection, None, None, Reason.REBUILD)
    return replace(fitted, version=version)


def _stands(fitted: dict[str, Any] | None, volume: int, as_of: datetime) -> bool:
    """Whether the last fit need not be made again."""
    if fitted is None or volume <= FEW:
        return False
    return volume < GROWN * fitted["events"] and as_of - datetime.fromisoformat(fitted["at"]) < AGAIN


def differs(old: ReferenceStatistics, new: ReferenceStatistics) -> bool:
    """Whether event weights under `new` are notably others than under `old`.

    The priors of affinities are compared as distributions (total variation), and the medians of dwell by their mean
    over the views of categories, so that rare names do not count.
    """
    if set(old.importance) != set(new.importance) or len(old.examination) != len(new.examination):
        return True
    importance = np.array([[s.importance[kind] for kind in sorted(old.importance)] for s in (old, new)])
    curves = np.array([old.examination, new.examination])
    names = old.category_coverage.keys() | new.category_coverage.keys()
    covered = [abs(old.category_coverage.get(n, 0.0) - new.category_coverage.get(n, 0.0)) for n in names]
    shares = [(old.category_prior, new.category_prior), (old.brand_prior, new.brand_prior)]
    moved = [0.5 * sum(abs(a.get(k, 0.0) - b.get(k, 0.0)) for k in a.keys() | b.keys()) for a, b in shares]
    return bool(
        (np.abs(importance[0] - importance[1]) > SMALLEST_CHANGE).any()
        or (np.abs(np.log(curves[0] / curves[1])) > SMALLEST_CHANGE).any()
        or abs(np.log(old.dwell_median_default / new.dwell_median_default)) > SMALLEST_CHANGE
        or _moved_medians(old, new) > SMALLEST_CHANGE
        or max(moved) > SMALLEST_CHANGE
        or max(covered, default=0.0) > SMALLEST_CHANGE
    )


def _moved_medians(old: ReferenceStatistics, new: ReferenceStatistics) -> float:
    """By how much the medians of dwell differ, |ln| averaged over the new statistics' views of categories."""
    names = list(new.dwell_median_ms)
    views = np.array([new.dwell_views.get(name, 0) for name in names], np.float64)
    before = np.array([old.dwell_median_ms.get(name, old.dwell_median_default) for name in names])
    after = np.array([new.dwell_median_ms[name] for name in names])
    return float(views @ np.abs(np.log(before / after)) / max(views.sum(), 1.0))
