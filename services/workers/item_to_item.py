"""Which items go together, for the next snapshot: from all events, or as the published snapshot has it."""

import time
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Engine

from services.core.errors import CorruptArtefact
from services.core.logging import get_logger
from services.db.checkpoints import get_checkpoint, set_checkpoint
from services.db.events import iter_event_chunks
from services.db.session import transaction
from services.db.store_marks import database_time
from services.features.neighbour_pairs import pairs_of
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.profiles.co_engagement import co_engagement_pairs
from services.profiles.reference_store import load_reference

CHECKPOINT = "co-engagement"
"""How long it took to read all events for it, and when that was."""
LONG_S, RESTS = 30.0, 20
"""Where it takes longer, all events are read in a twentieth of the time: a snapshot comes with every few minutes of
engagement, and what goes together hardly moves meanwhile."""
COLUMNS = ("user_id", "item_id", "type", "timestamp")

log = get_logger("workers")


def item_to_item(engine: Engine, snapshots: Path, items: pa.Table) -> pa.Table:
    """Pairs of `items` (`item_id`) that go together: item_id, neighbour_id, score from 0 to 1."""
    published = _published(engine, snapshots)
    if published is not None:
        return published
    began = time.monotonic()
    with transaction(engine) as connection:
        reference = load_reference(connection)
        chunks = iter_event_chunks(connection, columns=COLUMNS)
        pairs = co_engagement_pairs(chunks, items["item_id"].combine_chunks(), reference)
    with transaction(engine) as connection:
        mark = {"seconds": time.monotonic() - began, "at": database_time(connection).isoformat()}
        set_checkpoint(connection, CHECKPOINT, mark)
    return pairs


def _published(engine: Engine, snapshots: Path) -> pa.Table | None:
    """The pairs of the snapshot that is published here, while reading all events has to rest."""
    with transaction(engine) as connection:
        last, now = get_checkpoint(connection, CHECKPOINT), database_time(connection)
    folder = current_snapshot(snapshots)
    if last is None or folder is None or last["seconds"] <= LONG_S:
        return None
    if now - datetime.fromisoformat(last["at"]) >= timedelta(seconds=RESTS * last["seconds"]):
        return None
    try:
        return pairs_of(ItemSnapshot.open(folder, exact=True))
    except CorruptArtefact as error:
        log.warning("snapshot-damaged", detail=error.detail)
        return None
