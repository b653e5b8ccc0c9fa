"""The models of a shop in object storage: `models/<version>/`, and `models/rollout.json`, which says what serves.

Rankers of search lie beside them in the same way, under `search-rankers/`.
"""

from pathlib import Path

import msgspec

from services.core.errors import CorruptArtefact
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage, plain
from services.registry.manifest import MANIFEST, ModelManifest
from services.registry.registry import BLEND, ROLLOUT, UNTRAINED, ModelRegistry, Rollout

FOLDER, SEARCH_FOLDER = "models", "search-rankers"


class StoredRegistry(ModelRegistry):
    """A registry of this host's folder that is the same on all hosts: it fetches before a change and uploads after."""

    def __init__(self, folder: Path, storage: ObjectStorage, baseline: str = BLEND, name: str = FOLDER) -> None:
        """`name`: of the folder in the storage."""
        super().__init__(folder, baseline)
        self._storage, self._name = storage, name
        self.folder.mkdir(parents=True, exist_ok=True)

    def publish(self, made: Path, manifest: ModelManifest) -> str:
        version = super().publish(made, manifest)
        self._storage.upload(self.folder / version, f"{self._name}/{version}", last=MANIFEST)
        return version

    def versions(self) -> list[ModelManifest]:
        for version in self._storage.folders(self._name):
            self._fetch(version)
        return super().versions()

    def rollout(self) -> Rollout:
        self.pull()
        return super().rollout()

    def pull(self) -> None:
        """Fetch the rollout and the versions that it serves or tries.

        Raises:
            CorruptArtefact: the storage lacks one of them, or what it holds is damaged. What serves here stays so.
            DependencyDown: the storage does not answer.
        """
        written = self._storage.read(f"{self._name}/{ROLLOUT}")
        path = self.folder / ROLLOUT
        if written is None or (path.is_file() and path.read_bytes() == written):
            return
        try:
            rollout = msgspec.json.decode(written, type=Rollout)
        except msgspec.DecodeError as error:
            raise CorruptArtefact(
                f"{self._name}/{ROLLOUT} in the storage cannot be read: promote a model again"
            ) from error
        for version in {rollout.champion, rollout.canary, rollout.shadow} - {self.baseline}:
            if version is not None and not self._fetch(version):
                raise CorruptArtefact(f"{self._name}/{version} in the storage has no manifest: publish the model again")
        self._replace(written)

    def _fetch(self, version: str) -> bool:
        """Whether the version is here now; not while it is being uploaded."""
        if (self.folder / version / MANIFEST).is_file():
            return True
        name = f"{self._name}/{plain(version)}"
        written = self._storage.read(f"{name}/{MANIFEST}")
        if written is None:
            return False
        try:
            files = msgspec.json.decode(written, type=ModelManifest).files
        except msgspec.DecodeError as error:
            raise CorruptArtefact(f"{name} in the storage is no model: publish it again") from error
        digests = {file: entry.sha256 for file, entry in files.items()}
        self._storage.fetch(name, self.folder / version, digests, {MANIFEST: written}, like=self.folder / version)
        return True

    def _existing(self, version: str) -> Path:
        self._check_name(version)
        if version in self._storage.folders(self._name):
            self._fetch(version)
        return super()._existing(version)

    def _write(self, rollout: Rollout) -> None:
        super()._write(rollout)
        self._storage.write(f"{self._name}/{ROLLOUT}", (self.folder / ROLLOUT).read_bytes())

    def _replace(self, written: bytes) -> None:
        hidden = self.folder / f".{ROLLOUT}.pulled"
        hidden.write_bytes(written)
        hidden.replace(self.folder / ROLLOUT)


def open_registry(folder: Path, storage_url: str | None) -> ModelRegistry:
    """The registry of this host, or of all hosts where a storage is configured."""
    return ModelRegistry(folder) if storage_url is None else StoredRegistry(folder, ObjectStorage(storage_url))


def open_search_registry(paths: HomePaths, storage_url: str | None) -> ModelRegistry:
    """As `open_registry`, of the rankers of search."""
    if storage_url is None:
        return ModelRegistry(paths.search_rankers, UNTRAINED)
    return stored_search_registry(paths, ObjectStorage(storage_url))


def stored_search_registry(paths: HomePaths, storage: ObjectStorage) -> StoredRegistry:
    """The rankers of search of all hosts."""
    return StoredRegistry(paths.search_rankers, storage, UNTRAINED, SEARCH_FOLDER)
