"""How a training run is written down: in MLflow, and as TensorBoard event files beside it.

Both are optional libraries: what is missing is said in one line, and training runs where only torch and NumPy are.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.core.logging import get_logger
from services.registry.manifest import DataRange, ModelManifest
from services.registry.mlflow_log import MlflowRun, begin_run

log = get_logger("training")


@dataclass(frozen=True)
class TrackingConfig:
    """`folder`: of TensorBoard's files, and of MLflow's when there is no `uri`; a `uri` of `none` is without MLflow."""

    folder: Path
    uri: str | None = None


class Tracker:
    """Hears of a run: what it is made of, each epoch, what it reached."""

    def __init__(self, run: MlflowRun | None, board: Any) -> None:
        self._run, self._board = run, board

    def about(self, settings: object, tags: Mapping[str, str]) -> None:
        """Settings (a dataclass) and tags, before the first epoch."""
        if self._run is not None:
            self._run.about(flat(settings), tags)
        if self._board is not None:
            self._board.add_text("settings", "\n".join(f"    {k} = {v}" for k, v in {**flat(settings), **tags}.items()))

    def data(self, source: str, data: DataRange) -> None:
        """The events that are learned from, by digest."""
        if self._run is not None:
            whole = {name: getattr(data, name) for name in DataRange.__struct_fields__}
            self._run.data(source, data.digest, whole)

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """What the trainer tells after an epoch; `stage` says of which model."""
        stage, step = figures.get("stage") or "model", int(figures["epoch"])
        self._values({f"{stage}/{k}": v for k, v in figures.items() if k not in ("stage", "epoch")}, step)

    def reached(self, values: Mapping[str, float]) -> None:
        """Figures of the run as a whole."""
        self._values(values, 0)

    def published(self, folder: Path, manifest: ModelManifest) -> None:
        """A version lies in the registry."""
        if self._run is not None:
            self._run.register(folder, manifest)

    def artifacts(self, folder: Path, under: str) -> None:
        """Files that a run leaves."""
        if self._run is not None:
            self._run.artifacts(folder, under)

    def end(self, failed: bool) -> None:
        if self._run is not None:
            self._run.end(failed)
        if self._board is not None:
            self._board.close()

    def _values(self, values: Mapping[str, float], step: int) -> None:
        if self._run is not None:
            self._run.metrics(values, step)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


@contextmanager
def tracked(config: TrackingConfig | None, name: str) -> Iterator[Tracker]:
    """A tracker for the length of a run; one that writes nothing without a configuration."""
    if config is None:
        yield Tracker(None, None)
        return
    tracker = Tracker(begin_run(config.uri, config.folder, name), _board(config.folder / "tensorboard" / name))
    failed = True
    try:
        yield tracker
        failed = False
    finally:
        tracker.end(failed)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - slow, and absent on bare machines
    except ImportError as error:
        log.warning("tensorboard-off", reason=f"{error.name} is not installed", cure="pip install tensorboard")
        return None
    return SummaryWriter(str(folder))


def flat(settings: object, prefix: str = "") -> dict[str, object]:
    """`user_model.width` → 128 and so on: the values of a dataclass and of those within it."""
    found: dict[str, object] = {}
    for item in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, item.name)
        name = f"{prefix}{item.name}"
        found |= flat(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return found
