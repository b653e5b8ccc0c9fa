"""What changed since an index was made is found by comparing, whatever the clocks say."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from services.search.catalogue_state import CatalogueDifference, difference, write_state

MORNING, NOON = datetime(2026, 11, 23, 8, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC)


def items(**updated: datetime) -> pa.Table:
    times = pa.array(list(updated.values()), pa.timestamp("us", tz="UTC"))
    return pa.table({"item_id": pa.array(list(updated), pa.string()), "updated_at": times})


def test_new_changed_and_deleted_items_are_told_apart(tmp_path: Path):
    write_state(tmp_path, "v1", items(a=NOON, b=NOON, c=NOON))
    found = difference(tmp_path, "v1", items(a=NOON, b=MORNING, d=MORNING))
    assert found == CatalogueDifference(changed=["b", "d"], deleted=["c"])
    assert difference(tmp_path, "v1", items(a=NOON, b=NOON, c=NOON)) == CatalogueDifference([], [])


def test_of_another_version_or_without_a_record_nothing_is_known(tmp_path: Path):
    assert difference(tmp_path, None, items(a=NOON)) is None
    assert difference(tmp_path, "v1", items(a=NOON)) is None
    write_state(tmp_path, "v1", items(a=NOON))
    assert difference(tmp_path, "v2", items(a=NOON)) is None
