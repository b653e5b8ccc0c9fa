"""A file that is replaced as a whole, in object storage: fetched where another one is published than is here.

`<name>/<version>/` holds it, `<name>/current` names the version; a version's name ends in the file's SHA-256.
"""

import hashlib
import os
import uuid
from pathlib import Path

from services.core.clock import utc_now
from services.core.errors import CorruptArtefact
from services.core.storage import ObjectStorage
from services.features.stored_versions import make_stored_current, stored_version


def push_file(path: Path, name: str, storage: ObjectStorage) -> None:
    """Publish the file in the storage.

    Raises:
        DependencyDown: the storage does not take it.
    """
    data = path.read_bytes()
    version = f"{utc_now():%Y%m%dT%H%M%S}-{hashlib.sha256(data).hexdigest()}"
    storage.write(f"{name}/{version}/{path.name}", data)
    make_stored_current(name, version, storage)
    replace_file(_mark(path), version.encode())


def pull_file(path: Path, name: str, storage: ObjectStorage) -> None:
    """Put the published file in place of the one here, unless it is that; nothing where the storage has none.

    Raises:
        CorruptArtefact: what the storage holds is damaged. The file here stays.
        DependencyDown: the storage does not answer.
    """
    version = stored_version(name, storage)
    if version is None or (path.is_file() and _known(path) == version):
        return
    data = storage.read(f"{name}/{version}/{path.name}")
    if data is None or hashlib.sha256(data).hexdigest() != version.rpartition("-")[2]:
        raise CorruptArtefact(f"{storage.url}/{name}/{version} is damaged: publish it again")
    replace_file(path, data)
    replace_file(_mark(path), version.encode())


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in place of what is there, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    hidden.write_bytes(data)
    os.replace(hidden, path)  # noqa: PTH105 - the atomic rename is the point


def _mark(path: Path) -> Path:
    """Where the version is written that was published or fetched last."""
    return path.with_name(f".{path.name}.version")


def _known(path: Path) -> str | None:
    try:
        return _mark(path).read_text()
    except FileNotFoundError:
        return None
