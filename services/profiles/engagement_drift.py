"""Compare the stored engagement states with a full recompute, beside traffic: the difference should be nothing."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from sqlalchemy import Engine

from services.core import columns
from services.core.logging import get_logger
from services.db.item_log import iter_items_events
from services.db.item_states import forget_basis, load_item_states, read_progress
from services.db.pending_items import ItemReason, waiting_items
from services.db.session import transaction
from services.profiles.engagement import EngagementSums
from services.profiles.engagement_sums import NEWEST, STATE_COLUMNS, EngagementConfig, basis_of
from services.profiles.reference_store import load_reference

log = get_logger("profiles")

TOLERANCE = 1e-5


@dataclass(frozen=True)
class EngagementDrift:
    """`items` were compared, `drifted` of them differ by more than 1e-5 (relative, or absolute below 1), `largest` is
    the largest such difference. `comparable` is False while new weights wait for the next tick."""

    items: int = 0
    drifted: int = 0
    largest: float = 0.0
    comparable: bool = True


def engagement_drift(engine: Engine, config: EngagementConfig | None = None) -> EngagementDrift:
    """The difference between the states and a recompute of the very events that they say they stand for.

    Items that wait to be summed anew are left out. Where anything drifted, the next tick sums all items anew.
    """
    config = config or EngagementConfig()
    with transaction(engine.execution_options(isolation_level="REPEATABLE READ")) as connection:
        progress = read_progress(connection)
        reference = load_reference(connection)
        if progress.as_of is None or progress.basis != basis_of(reference, config):
            return EngagementDrift(comparable=False)
        sums = EngagementSums(progress.as_of, reference, config)
        for chunk in iter_items_events(connection, progress.snapshot, progress.as_of):
            sums.add(chunk)
        waiting = pl.Series(waiting_items(connection, ItemReason.REBUILD), dtype=pl.String)
        found = difference(load_item_states(connection), sums.merge(), waiting)
    if found.drifted:
        log.warning("engagement-drifted", items=found.items, drifted=found.drifted, largest=found.largest)
        with transaction(engine) as connection:
            forget_basis(connection)
    return found


def difference(stored: pl.DataFrame, recomputed: pl.DataFrame, without: pl.Series) -> EngagementDrift:
    """How far two frames of states (`item_id`, `newest`, `STATE_COLUMNS`) are apart, `without` some items."""
    both = stored.join(recomputed, columns.ITEM_ID, how="full", suffix="_again", coalesce=True)
    both = both.filter(~pl.col(columns.ITEM_ID).is_in(without.implode()))
    if both.is_empty():
        return EngagementDrift()
    apart = np.where((both[NEWEST] == both[f"{NEWEST}_again"]).fill_null(False).to_numpy(), 0.0, np.inf)
    for name in STATE_COLUMNS:
        old, new = (both[column].fill_null(0.0).to_numpy() for column in (name, f"{name}_again"))
        apart = np.maximum(apart, np.abs(old - new) / np.maximum(np.abs(new), 1.0))
    return EngagementDrift(len(both), int((apart > TOLERANCE).sum()), float(apart.max()))
