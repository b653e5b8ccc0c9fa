"""Whether search has anything to bring up to date: a few cheap queries."""

from pathlib import Path

from sqlalchemy import Connection

from services.db.checkpoints import SEARCH_INDEX, get_checkpoint
from services.db.items import items_mark
from services.db.query_feedback import CHECKPOINT as FEEDBACK
from services.db.query_statistics import pending_feedback
from services.search.index.search_index import current_index


def search_is_due(connection: Connection, search: Path | None) -> bool:
    """Whether the catalogue changed since the index was made, or something is to be counted.

    `search` is where the index lies; None where another host, which shares no home with this one, keeps it.
    """
    if search is not None and current_index(search) is None:
        return True
    if items_mark(connection) != get_checkpoint(connection, SEARCH_INDEX):
        return True
    known = get_checkpoint(connection, FEEDBACK)
    return pending_feedback(connection, 0 if known is None else known["below"])
