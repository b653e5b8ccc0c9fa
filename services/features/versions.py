"""Immutable folders under one roof, one of which is current: how snapshots and search indexes are swapped."""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CURRENT = "current"
IN_USE_S = 900.0
"""A version published within this time may still be in use by a slow process: it is not pruned."""


def current_folder(root: Path) -> Path | None:
    """The folder of the published version, or None before the first."""
    try:
        version = (root / CURRENT).read_text().strip()
    except FileNotFoundError:
        return None
    return root / version


@contextmanager
def new_folder(root: Path, version: str) -> Iterator[Path]:
    """A folder to write a version into; it gets its name when the block ends, and goes when the block fails."""
    folder = root / f".{version}.{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
        os.replace(folder, root / version)  # noqa: PTH105 - the atomic rename is the point
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def make_current(root: Path, version: str) -> Path:
    """Make a version the current one, atomically. Returns its folder."""
    folder = root / version
    temporary = root / f".{CURRENT}.{uuid.uuid4().hex[:8]}"
    with temporary.open("w") as file:
        file.write(version)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, root / CURRENT)  # noqa: PTH105 - the atomic rename is the point
    os.utime(folder)
    return folder


def prune_folders(
    root: Path,
    is_version: Callable[[Path], bool],
    *,
    keep: int,
    now: float | None = None,
    in_use_s: float = IN_USE_S,
) -> list[str]:
    """Delete old versions: all but the current one, the `keep` newest and those published within `in_use_s` seconds.
    Returns which.

    A process that has a deleted version open keeps its mapped files; only opening it anew is no longer possible.
    """
    now = time.time() if now is None else now
    current = current_folder(root)
    folders = [path for path in root.glob("[!.]*") if is_version(path)]
    newest_first = sorted(folders, key=_published_at, reverse=True)
    old = [path for path in newest_first[keep:] if path != current and now - _published_at(path) > in_use_s]
    unfinished = [p for p in root.glob(".*-*.*") if p.is_dir() and now - p.stat().st_mtime > 4 * IN_USE_S]
    for folder in old + unfinished:
        shutil.rmtree(folder)
    return [folder.name for folder in old]


def _published_at(folder: Path) -> float:
    return folder.stat().st_mtime


def link_or_copy(old: Path, new: Path) -> None:
    """A file that never changes under a second name: a hard link where the file system has them."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
