"""MLflow beside the registry: a run for each training, a model version for each version that is published.

`HOME/models` stays what gateways read; MLflow keeps how a version came about. It is optional: where it is not
installed, or its server does not answer, one line in the log says so and training goes on without it.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from services.core.logging import get_logger
from services.registry.manifest import MODELS, ModelManifest

EXPERIMENT = "portrait"
REGISTERED_MODEL = "portrait"
OFF = "none"
"""The tracking URI that turns MLflow off."""

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
"""Nothing is sent to anybody but the server that is named, and a server that is gone delays training by seconds."""

log = get_logger("registry")


def local_uri(folder: Path) -> str:
    """The store of a folder: SQLite, no server."""
    return f"sqlite:///{folder / 'mlflow.db'}"


def begin_run(uri: str | None, folder: Path, name: str) -> "MlflowRun | None":
    """A new run at a tracking server, or in `folder` when no URI is given; None where there can be none.

    Importing MLflow takes seconds: only a training process calls this.
    """
    if uri == OFF:
        return None
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        import mlflow  # noqa: PLC0415 - slow, and absent on bare training machines
        import sqlalchemy  # noqa: F401, PLC0415 - what the local store needs and mlflow-skinny does not bring
    except ImportError as error:
        log.warning(
            "tracking-off", reason=f"{error.name} is not installed", cure="pip install mlflow-skinny sqlalchemy"
        )
        return None
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = None if uri else (folder / "artifacts").as_uri()
    try:
        client = mlflow.MlflowClient(uri or local_uri(folder), uri or local_uri(folder))
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = client.create_experiment(EXPERIMENT, artifacts) if found is None else found.experiment_id
        run = client.create_run(experiment, run_name=name)
    except Exception as error:
        log.warning("tracking-off", reason=f"MLflow at {uri or folder}: {error}".splitlines()[0])
        return None
    return MlflowRun(client, run.info.run_id)


class MlflowRun:
    """One training in MLflow. The first call that fails is the last that is made: a run may be incomplete, a model
    is never lost for it."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self.run_id, self._works = client, run_id, True

    def about(self, parameters: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """What is known before the first epoch."""
        from mlflow.entities import Param, RunTag  # noqa: PLC0415 - slow: see `begin_run`

        params = [Param(name, str(value)[:6_000]) for name, value in parameters.items()]
        self._do(partial(self._client.log_batch, self.run_id, params=params, tags=[RunTag(*t) for t in tags.items()]))

    def data(self, name: str, digest: str, profile: Mapping[str, object]) -> None:
        """Which events a run learned from."""
        from mlflow.entities import Dataset, DatasetInput  # noqa: PLC0415 - slow: see `begin_run`

        text = msgspec.json.encode(profile).decode()
        used = DatasetInput(Dataset(name, digest, "portrait", msgspec.json.encode({"shop": name}).decode(), None, text))
        self._do(partial(self._client.log_inputs, self.run_id, datasets=[used]))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Figures of an epoch, or of the whole (step 0)."""
        from mlflow.entities import Metric  # noqa: PLC0415 - slow: see `begin_run`

        stamp = int(time.time() * 1_000)
        made = [Metric(mlflow_name(name), float(value), stamp, step) for name, value in values.items()]
        self._do(partial(self._client.log_batch, self.run_id, metrics=made))

    def artifacts(self, folder: Path, under: str) -> None:
        """All files of a folder."""
        self._do(partial(self._client.log_artifacts, self.run_id, str(folder), under))

    def register(self, folder: Path, manifest: ModelManifest) -> None:
        """The published version as a version of the registered model, its files and manifest with it."""
        self.artifacts(folder, "model")
        self._do(partial(self._register, manifest))

    def _register(self, manifest: ModelManifest) -> None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - slow: see `begin_run`

        name = REGISTERED_MODEL if manifest.kind == MODELS else f"{REGISTERED_MODEL}-{manifest.kind}"
        try:
            self._client.get_registered_model(name)
        except MlflowException:
            self._client.create_registered_model(name)
        source = f"{self._client.get_run(self.run_id).info.artifact_uri}/model"
        self._client.create_model_version(name, source, self.run_id, tags=manifest_tags(manifest))

    def end(self, failed: bool = False) -> None:
        """Close the run."""
        self._do(partial(self._client.set_terminated, self.run_id, "FAILED" if failed else "FINISHED"))

    def _do(self, action: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:
            self._works = False
            log.warning("tracking-stopped", run=self.run_id, reason=_first_line(error))


def _first_line(error: Exception) -> str:
    """What an error says; what it is where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def mlflow_name(name: str) -> str:
    """A metric's or tag's name in the letters that MLflow takes: `recall@10` → `recall_at_10`."""
    return name.replace("@", "_at_")


def manifest_tags(manifest: ModelManifest) -> dict[str, str]:
    """The manifest as flat tags, but for its files and the long list of features."""
    document = msgspec.to_builtins(manifest)
    for left_out in ("files", "features", "importances"):
        document.pop(left_out, None)
    return {mlflow_name(name): value for name, value in _flat("", document)}


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(prefix, str(value))]
    return [pair for name, part in value.items() for pair in _flat(f"{prefix}.{name}" if prefix else name, part)]
