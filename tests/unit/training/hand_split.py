"""Splits of a few purchases, written as letters."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from training.event_log import make_event_log
from training.splits import Split, leave_one_out

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = "abcde"


def split_of(**sequences: str) -> Split:
    """The test split of each user's purchases, one a minute, over the catalogue a–e."""
    rows = [(user, item, minute) for user, items in sequences.items() for minute, item in enumerate(items)]
    table = pa.table(
        {
            "user_id": [user for user, _, _ in rows],
            "item_id": [item for _, item, _ in rows],
            "type": ["purchase"] * len(rows),
            "timestamp": pa.array([START + timedelta(minutes=m) for _, _, m in rows], pa.timestamp("us", "UTC")),
        }
    )
    return leave_one_out(make_event_log(table, list(ITEMS))).test
