"""Which items a search index was made of, and what has changed since: found by comparing, so that nothing is missed.

Times alone would miss an item whose transaction committed late, and say nothing of deleted ones.
"""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from services.core.columns import ITEM_ID

FILE = "items.parquet"
UPDATED_AT = "updated_at"
VERSION = b"version"


@dataclass(frozen=True)
class CatalogueDifference:
    """Ids of items to put in or replace, and of those to take out."""

    changed: list[str]
    deleted: list[str]

    def __len__(self) -> int:
        return len(self.changed) + len(self.deleted)


def write_state(search: Path, version: str, items: pa.Table) -> None:
    """Remember that the index `version` holds these items (`item_id`, `updated_at`)."""
    search.mkdir(parents=True, exist_ok=True)
    table = items.select([ITEM_ID, UPDATED_AT]).replace_schema_metadata({VERSION: version.encode()})
    temporary = search / f".{FILE}.{uuid.uuid4().hex[:8]}"
    pq.write_table(table, temporary)
    os.replace(temporary, search / FILE)  # noqa: PTH105 - the atomic rename is the point


def state_version(search: Path) -> str | None:
    """The index whose items are remembered here; None where that is not known."""
    try:
        version = (pq.read_schema(search / FILE).metadata or {}).get(VERSION)
    except (OSError, pa.ArrowInvalid):
        return None
    return None if version is None else version.decode()


def difference(search: Path, version: str | None, items: pa.Table) -> CatalogueDifference | None:
    """What of `items` (`item_id`, `updated_at`) the index `version` lacks; None where that is not known."""
    try:
        known = pq.read_table(search / FILE)
    except (OSError, pa.ArrowInvalid):
        return None
    if version is None or (known.schema.metadata or {}).get(VERSION) != version.encode():
        return None
    before, now = pl.from_arrow(known), pl.from_arrow(items.select([ITEM_ID, UPDATED_AT]))
    assert isinstance(before, pl.DataFrame) and isinstance(now, pl.DataFrame)
    changed = now.join(before, on=[ITEM_ID, UPDATED_AT], how="anti")[ITEM_ID].to_list()
    deleted = before.join(now, on=ITEM_ID, how="anti")[ITEM_ID].to_list()
    return CatalogueDifference(sorted(changed), sorted(deleted))
