"""The models of one home: `HOME/models/<version>/`, and which of them serve.

`rollout.json` says which version serves, which served before, and which is tried on a share of users (canary) or
computed beside (shadow). It is replaced as a whole, so that whoever reads it sees one state or the next.
"""

import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec

from services.core.errors import Conflict, CorruptArtefact, InvalidInput, NotFound
from services.registry.artefact import LoadedModel, load_artefact
from services.registry.gate import Verdict, judge
from services.registry.manifest import MANIFEST, ModelManifest, feature_hash, read_manifest, verify, write_manifest

ROLLOUT = "rollout.json"
BLEND, UNTRAINED = "linear-blend", "untrained"
"""The versions that are always there, of recommendations and of search: no model, weights set by hand."""
REMEMBERED = 20


class Rollout(msgspec.Struct, frozen=True):
    """`champion` serves; `before`: what served before it, latest last. `canary` serves `share` of the users, `shadow`
    is computed for that share of requests and shown to nobody."""

    champion: str = BLEND
    before: tuple[str, ...] = ()
    canary: str | None = None
    canary_share: float = 0.0
    shadow: str | None = None
    shadow_share: float = 0.0
    changed: float = 0.0


@dataclass(frozen=True)
class Needs:
    """What a model must read to serve: the ranker's `features`, and vectors of the item snapshot's `space` (None: there
    is no snapshot yet)."""

    features: tuple[str, ...]
    space: str | None = None

    def check(self, manifest: ModelManifest) -> None:
        """Raises CorruptArtefact where the model reads something else."""
        if manifest.feature_hash != feature_hash(self.features):
            raise CorruptArtefact(f"{manifest.version} ranks by other features than this version computes: train again")
        if self.space is not None and manifest.space != self.space:
            raise CorruptArtefact(
                f"{manifest.version} reads vectors of {manifest.space}, items have those of {self.space}: train again"
            )


class ModelRegistry:
    """Reads and changes the models folder; any number of processes may read while one changes."""

    def __init__(self, folder: Path, baseline: str = BLEND) -> None:
        """`baseline`: the version that is always there and serves first."""
        self.folder, self.baseline = folder, baseline

    def publish(self, made: Path, manifest: ModelManifest) -> str:
        """Move a folder of model files into the registry, whole or not at all. Returns the version.

        Raises:
            Conflict: there is such a version.
        """
        self._check_name(manifest.version)
        target = self.folder / manifest.version
        if target.exists():
            raise Conflict(f"There is a model {manifest.version} already")
        self.folder.mkdir(parents=True, exist_ok=True)
        hidden = self.folder / f".{manifest.version}-{uuid.uuid4().hex[:8]}"
        try:
            shutil.copytree(made, hidden)
            write_manifest(hidden, manifest)
            hidden.rename(target)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        return manifest.version

    def versions(self) -> list[ModelManifest]:
        """All readable models, newest first."""
        found = []
        for path in self.folder.glob(f"[!.]*/{MANIFEST}"):
            try:
                found.append(read_manifest(path.parent))
            except CorruptArtefact:
                continue  # `doctor` and `promote` name it
        return sorted(found, key=lambda manifest: manifest.created, reverse=True)

    def manifest(self, version: str) -> ModelManifest:
        """What a version says of itself.

        Raises:
            NotFound: there is no such version.
        """
        return read_manifest(self._existing(version))

    def load(self, version: str) -> LoadedModel:
        """Verify and read a version.

        Raises:
            NotFound, CorruptArtefact: it is not there, or not what its manifest says.
        """
        return load_artefact(self._existing(version))

    def verified(self, version: str) -> tuple[Path, ModelManifest]:
        """A version's folder and manifest, once every file was found as it says.

        Raises:
            NotFound, CorruptArtefact: it is not there, or not what its manifest says.
        """
        folder = self._existing(version)
        return folder, verify(folder)

    def rollout(self) -> Rollout:
        """What serves now. Without a file: the baseline.

        Raises:
            CorruptArtefact: the file cannot be read.
        """
        try:
            return msgspec.json.decode((self.folder / ROLLOUT).read_bytes(), type=Rollout)
        except FileNotFoundError:
            return Rollout(champion=self.baseline)
        except (OSError, msgspec.DecodeError) as error:
            raise CorruptArtefact(f"{self.folder / ROLLOUT} cannot be read: promote a model again") from error

    def promote(self, version: str, *, force: bool = False, needs: Needs | None = None) -> Verdict:
        """Let a version serve, if it passes the gate (`force`: whatever the gate says).

        `needs`: what the gateways are known to compute; a model that reads something else could not serve.

        Raises:
            NotFound, CorruptArtefact: it is not there, or damaged, or does not fit `needs`.
            Conflict: it does not pass.
        """
        now = self._readable_rollout()
        if version == self.baseline:
            verdict = Verdict(True, f"{version} needs no model")
        else:
            candidate = verify(self._existing(version))
            if needs is not None:
                needs.check(candidate)
            verdict = judge(candidate, self._judged_against(now.champion))
        if not verdict.passes and not force:
            raise Conflict(f"{version} was not promoted: {verdict.reason}. `--force` promotes it all the same")
        if version != now.champion:
            kept = (*now.before, now.champion)[-REMEMBERED:]
            self._write(Rollout(champion=version, before=kept, shadow=now.shadow, shadow_share=now.shadow_share))
        return verdict

    def rollback(self) -> str:
        """Let what served before serve again; what serves now is not remembered. Returns the version.

        Raises:
            Conflict: nothing served before.
        """
        now = self._readable_rollout()
        if not now.before:
            raise Conflict("There is nothing to go back to: nothing served before")
        version = now.before[-1]
        if version != self.baseline:
            verify(self._existing(version))
        self._write(Rollout(champion=version, before=now.before[:-1]))
        return version

    def try_out(self, version: str | None, share: float, *, shadow: bool = False) -> Rollout:
        """Serve a version to a share of users (or compute it beside a share of requests); None ends that.

        Raises:
            InvalidInput: the share is not in 0–1.
            NotFound, CorruptArtefact: there is no such version, or it is damaged.
        """
        if not 0 <= share <= 1:
            raise InvalidInput(f"A share lies between 0 and 1; {share} does not")
        if version is not None and version != self.baseline:
            verify(self._existing(version))
        now = self._readable_rollout()
        share = share if version is not None else 0.0
        changed = (
            msgspec.structs.replace(now, shadow=version, shadow_share=share)
            if shadow
            else msgspec.structs.replace(now, canary=version, canary_share=share)
        )
        self._write(changed)
        return changed

    def _judged_against(self, champion: str) -> ModelManifest | None:
        """The champion's manifest; None for the baseline, and for one that is gone or damaged."""
        try:
            return None if champion == self.baseline else self.manifest(champion)
        except (NotFound, CorruptArtefact):
            return None

    def _readable_rollout(self) -> Rollout:
        try:
            return self.rollout()
        except CorruptArtefact:
            return Rollout(champion=self.baseline)

    def _existing(self, version: str) -> Path:
        self._check_name(version)
        folder = self.folder / version
        if not (folder / MANIFEST).is_file():
            raise NotFound(f"There is no model {version}: see `portrait models list`")
        return folder

    def _check_name(self, version: str) -> None:
        if not version or not all(c.isalnum() or c in "-_." for c in version) or version.startswith("."):
            raise InvalidInput(f"{version!r} is no model version: letters, digits, - _ and . only")

    def _write(self, rollout: Rollout) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{ROLLOUT}.{uuid.uuid4().hex[:8]}"
        stamped = msgspec.structs.replace(rollout, changed=time.time())
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(stamped), indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / ROLLOUT)
