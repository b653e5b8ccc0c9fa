"""Folders and small files in object storage, by fsspec URL: `s3://bucket/shop`, a shared folder, `memory://` in tests.

A folder is complete when the file that is uploaded last is there; what is fetched appears whole and verified, or not at
all. Nothing is ever changed in place but the small files, and those are replaced as a whole.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from services.core.errors import CorruptArtefact, DependencyDown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What versions may be called, and folders within them: no path leads out of the folder."""
FILE = re.compile(rf"({NAME.pattern}/)*\.?{NAME.pattern}")
"""What files may be called, by their path within the folder."""
CHUNK = 1 << 20


class ObjectStorage:
    """One place in object storage.

    Raises:
        DependencyDown: from every method, where the storage cannot be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec  # noqa: PLC0415 - only where a storage is configured

        files, root = fsspec.core.url_to_fs(self.url)
        return files, root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """A small file's bytes, None where there is none."""
        files, root = self._opened
        try:
            return files.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._down(error) from error

    def write(self, name: str, data: bytes) -> None:
        """Put a small file in place of what is there, at once."""
        files, root = self._opened
        try:
            if "file" not in _protocols(files):
                files.pipe_file(f"{root}/{name}", data)  # object stores show an object once it is complete
                return
            target = Path(root) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
            hidden.write_bytes(data)
            hidden.replace(target)
        except Exception as error:
            raise self._down(error) from error

    def folders(self, name: str) -> list[str]:
        """The names of the folders in a folder, ascending."""
        files, root = self._opened
        try:
            files.invalidate_cache()
            found = files.ls(f"{root}/{name}", detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._down(error) from error
        return sorted(Path(entry["name"]).name for entry in found if entry["type"] == "directory")

    def upload(self, folder: Path, name: str, last: str) -> None:
        """Copy a folder's files, also those in folders of it, to `name`, the file `last` after all others."""
        files, root = self._opened
        paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        names = sorted(paths, key=lambda file: (file == last, file))
        try:
            for within in {Path(file).parent.as_posix() for file in names}:
                files.makedirs(f"{root}/{name}/{within}".removesuffix("/."), exist_ok=True)
            for file in names:
                files.put_file(str(folder / file), f"{root}/{name}/{file}")
        except Exception as error:
            raise self._down(error) from error

    def delete(self, name: str) -> None:
        """Delete a folder with what is in it; nothing where there is none."""
        files, root = self._opened
        try:
            files.rm(f"{root}/{name}", recursive=True)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._down(error) from error

    def fetch(self, name: str, target: Path, digests: Mapping[str, str], also: Mapping[str, bytes], like: Path) -> None:
        """Make the folder `target` of the files of `name`, whole or not at all.

        Args:
            digests: SHA-256 (hexadecimal) of each file to fetch, by its path within the folder.
            also: further files with their content, the manifest for one.
            like: a folder whose files of the same name are linked instead of fetched where their digest is the same; it
                need not exist.

        Raises:
            CorruptArtefact: a file is missing or not what its digest says, or its path leads elsewhere.
        """
        for file in digests:
            _within(file)
        hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        hidden.mkdir(parents=True)
        try:
            for file, digest in digests.items():
                (hidden / file).parent.mkdir(parents=True, exist_ok=True)
                if not _link(like / file, hidden / file, digest):
                    self._fetch_file(f"{name}/{file}", hidden / file, digest)
            for file, data in also.items():
                (hidden / file).write_bytes(data)
            os.replace(hidden, target)  # noqa: PTH105 - the atomic rename is the point
        except OSError:
            if not target.is_dir():  # else another process of this host fetched the same meanwhile
                raise
        finally:
            shutil.rmtree(hidden, ignore_errors=True)

    def _fetch_file(self, name: str, target: Path, digest: str) -> None:
        files, root = self._opened
        found = hashlib.sha256()
        try:
            with files.open(f"{root}/{name}", "rb") as source, target.open("wb") as copy:
                while block := source.read(CHUNK):
                    found.update(block)
                    copy.write(block)
        except FileNotFoundError as error:
            raise CorruptArtefact(f"{self.url}/{name} is missing: publish this version again") from error
        except Exception as error:
            raise self._down(error) from error
        if found.hexdigest() != digest:
            raise CorruptArtefact(f"{self.url}/{name} is damaged: publish this version again")

    def _down(self, error: Exception) -> DependencyDown:
        return DependencyDown(f"The storage at {self.url} does not answer as it should: {error}")


def plain(name: str) -> str:
    """The name of a version, if it is one.

    Raises:
        CorruptArtefact: it could lead elsewhere.
    """
    if not NAME.fullmatch(name):
        raise CorruptArtefact(f"{name!r} in the storage is no name of a version: publish again")
    return name


def _within(file: str) -> None:
    if not FILE.fullmatch(file):
        raise CorruptArtefact(f"{file!r} in the storage is no path of a file of a version: publish again")


def _link(present: Path, target: Path, digest: str) -> bool:
    """Whether the file that is present is the one that is wanted; then it is linked, and takes no further space."""
    try:
        with present.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return False
        target.hardlink_to(present)
    except OSError:
        return False
    return True


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def open_storage(url: str | None) -> ObjectStorage | None:
    """The storage that `PORTRAIT_STORAGE_URL` names; None where the home is all there is."""
    return None if url is None else ObjectStorage(url)
