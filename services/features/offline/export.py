"""Exports the lists that were served, with the portraits that Feast's point-in-time join gives them, to Arrow files.

A list is joined as of the version of the portrait that its request read, not as of its own time: a portrait that was
computed before the request but written online after it was unknown to it (docs/adr/0008).
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine

from feature_repo import names
from services.core.errors import CorruptArtefact
from services.db.served_requests import count_served_requests, read_served_requests
from services.db.session import transaction
from services.features.portrait import unpack
from services.features.served_lists import (
    DATA,
    MANIFEST,
    PORTRAIT,
    SCHEMA,
    ListsManifest,
    file_digest,
    read_manifest,
)

LISTS_AT_ONCE = 4_000
"""Some 30 MB: rows of one join, one record batch of the file."""
KEPT = 3


class History(Protocol):
    """`services.features.offline.reader.OfflineReader`, as far as an export needs it."""

    def historical(self, entities: pa.Table, features: str | list[str]) -> pa.Table: ...

    def service_hash(self, name: str) -> str: ...


def export_lists(
    engine: Engine,
    history: History,
    datasets: Path,
    *,
    since: datetime,
    until: datetime,
    labelled_until: datetime | None = None,
    service: str = names.RETRIEVAL_SERVICE,
    progress: Callable[[float], None] = lambda _: None,
) -> Path:
    """Write the lists served in [since, until) and what came of them before `labelled_until` (`until` when None).

    The folder is `datasets/DIGEST`: the same rows make the same one. Memory holds one batch. Nothing that happened or
    was computed later has any part in it.
    """
    labelled_until = until if labelled_until is None else labelled_until
    datasets.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=datasets))
    try:
        counts = _write(engine, history, made / DATA, since, until, labelled_until, service, progress)
        manifest = ListsManifest(
            digest=file_digest(made / DATA),
            bytes=(made / DATA).stat().st_size,
            since=since.isoformat(),
            until=until.isoformat(),
            labelled_until=labelled_until.isoformat(),
            feature_service=service,
            service_hash=history.service_hash(service),
            **counts,
        )
        (made / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        return _in_place(made, datasets / manifest.digest[:16])
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(
    engine: Engine,
    history: History,
    path: Path,
    since: datetime,
    until: datetime,
    labelled_until: datetime,
    service: str,
    progress: Callable[[float], None],
) -> dict[str, int]:
    counts = {"lists": 0, "labelled": 0, "without_portrait": 0}
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with transaction(engine) as connection, pa.ipc.new_file(str(path), SCHEMA, options=options) as writer:
        total = count_served_requests(connection, since, until)
        for rows in read_served_requests(connection, since, until, labelled_until, LISTS_AT_ONCE):
            joined = rows.append_column(PORTRAIT, portraits_of(rows, history, service))
            writer.write_table(joined.select(SCHEMA.names).cast(SCHEMA), max_chunksize=LISTS_AT_ONCE)
            counts["lists"] += rows.num_rows
            counts["labelled"] += pc.sum(pc.greater(pc.list_value_length(rows["event_items"]), 0)).as_py()
            counts["without_portrait"] += pc.sum(
                pc.and_(pc.is_valid(joined["portrait_at"]), pc.is_null(joined[PORTRAIT]))
            ).as_py()
            progress(min(1.0, counts["lists"] / max(total, 1)))
    return counts


def portraits_of(rows: pa.Table, history: History, service: str) -> pa.ChunkedArray:
    """The packed portrait of each list: its user's, of exactly the version `portrait_at`; null where there is none."""
    asked = rows.select(["user_id", "portrait_at"]).filter(pc.is_valid(rows["portrait_at"]))
    if not asked.num_rows:
        return pa.chunked_array([pa.nulls(rows.num_rows, pa.binary())])
    versions = asked.group_by(["user_id", "portrait_at"]).aggregate([])
    entities = pa.table({names.USER_ID: versions["user_id"], names.EVENT_TIMESTAMP: versions["portrait_at"]})
    packed = history.historical(entities, service)[PORTRAIT].to_pylist()
    moments = [moment.timestamp() for moment in versions["portrait_at"].to_pylist()]
    exact = [found if _is_as_of(found, at) else None for found, at in zip(packed, moments, strict=True)]
    place = pc.index_in(_key(rows), value_set=_key(versions))
    return pa.chunked_array([pa.array(exact, pa.binary()).take(place)])


def _is_as_of(packed: bytes | None, moment: float) -> bool:
    """Whether the join found this very version, and not, for want of it, an older one."""
    return packed is not None and unpack(packed).as_of == moment


def _key(rows: pa.Table) -> pa.Array:
    """User and version as one text; null for a stranger."""
    moment = rows["portrait_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(moment, rows["user_id"], " ").combine_chunks()


def _in_place(made: Path, target: Path) -> Path:
    try:
        read_manifest(target)
    except CorruptArtefact:
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    else:
        shutil.copy(made / MANIFEST, target / MANIFEST)  # the same rows, asked for over another span
    return target


def prune_datasets(datasets: Path, keep: int = KEPT) -> None:
    """Delete all but the newest data sets."""
    found = sorted(datasets.glob(f"[!.]*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[keep:]:
        shutil.rmtree(path.parent, ignore_errors=True)
