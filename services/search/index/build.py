"""Builds, updates, publishes and prunes search indexes."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from services.search.config import SearchConfig


def build_index(items: pa.Table, search: Path, *, now: datetime, config: SearchConfig | None = None) -> str:
    """Build a new version from all items (`core.columns.ITEM_COLUMNS`, attributes as JSON text); returns its name.

    Nothing is built when the published version holds the same items.
    """
    raise NotImplementedError


def update_index(
    changed: pa.Table, deleted: Sequence[str], search: Path, *, now: datetime, config: SearchConfig | None = None
) -> str:
    """A new version: the published one with these items put in or replaced, and those ids taken out; its name.

    Raises:
        NotReady: nothing is published yet: build one.
    """
    raise NotImplementedError


def publish(search: Path, version: str) -> Path:
    """Make a version the current one, atomically. Returns its folder."""
    raise NotImplementedError


def prune(search: Path, *, keep: int = 2, now: float | None = None) -> list[str]:
    """Delete old versions, as `snapshot_build.prune` does. Returns which."""
    raise NotImplementedError
