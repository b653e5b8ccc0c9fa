"""Skipping a step whose outcome is already there: same sources, same database, ended well the last time."""

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import psycopg

from services.core.paths import HomePaths
from services.runtime.parts import Part

SOURCES = (".py", ".yaml", ".toml")
IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid
FROM pg_database WHERE datname = current_database()
"""


def fingerprint(part: Part, database_url: str) -> str | None:
    """What the step's outcome depends on, as a digest; None for a step that runs at every start.

    The database's own identity counts: a dropped and created one has another.
    """
    if not part.depends_on:
        return None
    digest = hashlib.sha256()
    with psycopg.connect(database_url) as connection:
        row = connection.execute(IDENTITY).fetchone()
    digest.update(str(row).encode())
    for path in _sources(part.depends_on):
        digest.update(f"{path}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_done(part: Part, home: Path, current: str | None) -> bool:
    """Whether the step ended well with exactly this fingerprint."""
    if current is None:
        return False
    try:
        return _record(part, home).read_text() == current
    except FileNotFoundError:
        return False


def remember(part: Part, home: Path, current: str | None) -> None:
    """The step ended well."""
    if current is not None:
        _record(part, home).write_text(current)


def forget(part: Part, home: Path) -> None:
    """The step is about to run: what was remembered no longer counts."""
    _record(part, home).unlink(missing_ok=True)


def _record(part: Part, home: Path) -> Path:
    return HomePaths(home).run / f"{part.name}.done"


def _sources(packages: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found += [path for path in Path(folder).rglob("*") if path.suffix in SOURCES]
    return sorted(found)
