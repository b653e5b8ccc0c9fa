"""Lists that models made, kept in a folder: an evaluation that was cut off, or was shared out by seed, goes on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.splits import Split


@dataclass(frozen=True)
class MadeLists:
    """`ranked` int32 (users, k); seconds that fitting and that everything took; `peak_memory_mb` of the process."""

    ranked: NDArray[np.int32]
    fit_seconds: float
    seconds: float
    peak_memory_mb: float


class ListStore:
    """Files of one evaluation: of one split of some data, with one configuration.

    What it cannot know is the code: use a new folder when that has changed.
    """

    def __init__(self, folder: Path, split: Split, config: str) -> None:
        """`config`: what the lists depend on beside the events: settings, and a digest of what is known of items."""
        self._folder, self._key = folder, split_digest(split, config)

    def load(self, model: str, seed: int) -> MadeLists | None:
        """What was kept of a model and seed; None where nothing was."""
        path = self._path(model, seed)
        if not path.is_file():
            return None
        with np.load(path) as kept:
            return MadeLists(kept["ranked"], *(float(value) for value in kept["figures"]))

    def keep(self, model: str, seed: int, made: MadeLists) -> None:
        """Write a file, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(model, seed)
        temporary = path.with_suffix(".tmp.npz")
        np.savez_compressed(
            temporary, ranked=made.ranked, figures=[made.fit_seconds, made.seconds, made.peak_memory_mb]
        )
        temporary.replace(path)

    def _path(self, model: str, seed: int) -> Path:
        return self._folder / f"lists-{self._key}-{model}-seed{seed}.npz"


def split_digest(split: Split, config: str) -> str:
    """Twelve letters that tell splits, their data and configurations apart."""
    log = split.log
    rows = (log.user, log.item, log.target, log.engaged, split.fit, split.history, split.targets)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in rows))
    digest.update(f"{split.name} {config}".encode())
    return digest.hexdigest()[:12]
