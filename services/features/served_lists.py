"""The data set of served lists: its columns, its files, and reading it, a batch at a time, where there is no Feast."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from feature_repo import names
from services.core.errors import CorruptArtefact

DATA, MANIFEST = "lists.arrow", "manifest.json"
FORMAT = 1
PORTRAIT = f"{names.USER_SERVING}__{names.PACKED}"
"""The packed portrait, as Feast's point-in-time join names it."""

MOMENT = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("user_id", pa.string()),
        ("timestamp", MOMENT),
        ("portrait_at", MOMENT),
        ("snapshot", pa.string()),
        ("model_version", pa.string()),
        ("feature_hash", pa.string()),
        ("request", pa.binary()),
        ("features", pa.binary()),
        ("item_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("propensities", pa.list_(pa.float32())),
        ("event_items", pa.list_(pa.string())),
        ("event_types", pa.list_(pa.string())),
        (PORTRAIT, pa.binary()),
    ]
)
"""One row a list. `item_ids`, `scores`, `propensities`: by position; `features`: little-endian float32 (items, F);
`event_items` and `event_types`: what came of it, in order of time; null `portrait_at`: a stranger's list."""


class ListsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a data set is. `digest`: SHA-256 of its rows' file; times in ISO 8601. Lists of [`since`, `until`), labelled
    by events before `labelled_until`. `without_portrait`: lists whose portrait is in the history no longer."""

    digest: str
    bytes: int
    lists: int
    labelled: int
    without_portrait: int
    since: str
    until: str
    labelled_until: str
    feature_service: str
    service_hash: str
    format: int = FORMAT


def read_manifest(folder: Path) -> ListsManifest:
    """The manifest of a data set, once its file was found to be as large as it says.

    Raises:
        CorruptArtefact: there is none, one of another format, or the file is missing or cut short.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ListsManifest)
        size = (folder / DATA).stat().st_size
    except (OSError, msgspec.DecodeError) as error:
        raise CorruptArtefact(f"{folder} is no data set of served lists: `portrait features export`") from error
    if manifest.format != FORMAT or size != manifest.bytes:
        raise CorruptArtefact(f"{folder} is damaged or of another version: `portrait features export` makes a new one")
    return manifest


def read_lists(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows in batches, newest batch first, mapped from the file; only `columns` are read where they are given."""
    read_manifest(folder)
    chosen = None if columns is None else [SCHEMA.get_field_index(name) for name in columns]
    options = pa.ipc.IpcReadOptions(included_fields=chosen)
    with pa.memory_map(str(folder / DATA)) as file, pa.ipc.open_file(file, options=options) as reader:
        for number in reversed(range(reader.num_record_batches)):
            yield reader.get_batch(number)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
