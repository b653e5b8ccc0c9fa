"""Where things lie under `PORTRAIT_HOME`: each path is named here once."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_LIMIT = 103
"""Bytes a Unix socket's path may have on every system we run on (Linux allows 107, macOS 103)."""


@dataclass(frozen=True)
class HomePaths:
    """The folders and files of one Portrait home. Nothing is created here."""

    home: Path

    @property
    def addresses(self) -> Path:
        """JSON file with the addresses of the running stack (see `services.core.addresses`)."""
        return self.home / "run" / "addresses.json"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def valkey(self) -> Path:
        return self.home / "valkey"

    @property
    def snapshots(self) -> Path:
        return self.home / "snapshots"

    @property
    def search(self) -> Path:
        """Versions of the search index, the synonyms that a person edits, and what people took after a query."""
        return self.home / "search"

    @property
    def suggest(self) -> Path:
        """Versions of the suggestions."""
        return self.home / "suggest"

    @property
    def media(self) -> Path:
        """Local product pictures and videos, the only place `file:` URLs may point into."""
        return self.home / "media"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def search_rankers(self) -> Path:
        """Trained rankers of search, a folder a version, as under `models`."""
        return self.home / "search-rankers"

    @property
    def datasets(self) -> Path:
        """Training sets, exported once (see `services.features.served_lists`)."""
        return self.home / "datasets"

    @property
    def tracking(self) -> Path:
        """What MLflow (without a server) and TensorBoard keep of training runs."""
        return self.home / "tracking"

    @property
    def encoders(self) -> Path:
        """Text encoders that were adapted to the shop, a folder a version."""
        return self.home / "encoders"

    @property
    def checkpoints(self) -> Path:
        """Of trainings under way: what is killed goes on from here."""
        return self.home / "cache" / "training"

    @property
    def cache(self) -> Path:
        return self.home / "cache"


def socket_folder(wanted: Path, name: str) -> Path:
    """`wanted`, or a short private folder in the system's temporary folder where `wanted/name` would be too long."""
    if len(str(wanted / name).encode()) <= SOCKET_PATH_LIMIT:
        return wanted
    digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"portrait-{digest}"
