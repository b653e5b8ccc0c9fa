"""A run is written to MLflow and TensorBoard; what is missing or fails costs a line in the log and nothing else."""

import sys
from pathlib import Path
from typing import Any

import pytest

from services.registry.manifest import DataRange, Measured, ModelManifest
from services.registry.mlflow_log import begin_run, local_uri
from training.configs import run_config
from training.tracking import TrackingConfig, flat, tracked

DATA = DataRange(7, 3, 2, "2026-01-01", "2026-02-01", "purchase", "digest-1")
EPOCH = {"stage": "ranker", "epoch": 1, "loss": 0.5, "seconds": 2.0}


def manifest() -> ModelManifest:
    one = Measured(0.1, 0.05, 0.15)
    return ModelManifest(
        version="v1", created=1.0, config="small", seed=0, space="space-1", features=("a", "b"),
        feature_service="ranking", feature_hash="h1", snapshot="snapshot-1", data=DATA, metrics={"ndcg@10": one},
        baseline={"ndcg@10": one}, gain=one, epochs=2, seconds=1.0, commit="abc", encoders={"text": "t1"},
    )  # fmt: skip


def test_a_run_keeps_settings_data_epochs_files_and_the_model_with_its_manifest(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    made = tmp_path / "v1"
    made.mkdir()
    (made / "ranker.safetensors").write_bytes(b"weights")
    with tracked(TrackingConfig(tmp_path / "tracking"), "v1") as tracker:
        tracker.about(run_config("small"), {"commit": "abc"})
        tracker.data("shop", DATA)
        tracker.epoch(EPOCH)
        tracker.epoch({**EPOCH, "epoch": 2, "loss": 0.25})
        tracker.reached({"ndcg@10": 0.1})
        tracker.published(made, manifest())

    import mlflow

    client = mlflow.MlflowClient(local_uri(tmp_path / "tracking"), local_uri(tmp_path / "tracking"))
    version = client.get_model_version("portrait", "1")
    assert {"space", "feature_hash", "snapshot", "commit"} <= set(version.tags)
    assert (version.tags["data.digest"], version.tags["encoders.text"]) == ("digest-1", "t1")
    assert version.tags["metrics.ndcg_at_10.low"] == "0.05"
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["user_model.width"] == "32" and run.data.tags["commit"] == "abc"
    assert [m.value for m in client.get_metric_history(version.run_id, "ranker/loss")] == [0.5, 0.25]
    assert run.data.metrics["ndcg_at_10"] == 0.1
    assert run.inputs.dataset_inputs[0].dataset.digest == "digest-1"
    assert [file.path for file in client.list_artifacts(version.run_id, "model")] == ["model/ranker.safetensors"]
    assert list((tmp_path / "tracking" / "tensorboard" / "v1").glob("events.out.tfevents.*"))


def test_without_the_libraries_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mlflow", "torch.utils.tensorboard", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with tracked(TrackingConfig(tmp_path), "v1") as tracker:
        tracker.about(run_config("small"), {})
        tracker.epoch(EPOCH)
        tracker.published(tmp_path, manifest())
    said = capsys.readouterr()
    assert "pip install mlflow-skinny" in said.out + said.err
    assert "pip install tensorboard" in said.out + said.err


def test_without_a_configuration_or_with_none_nothing_is_written(tmp_path: Path) -> None:
    with tracked(None, "v1") as tracker:
        tracker.epoch(EPOCH)
    assert begin_run("none", tmp_path, "v1") is None
    assert not list(tmp_path.iterdir())


def test_a_store_that_fails_stops_the_writing_and_not_the_training(tmp_path: Path) -> None:
    from services.registry.mlflow_log import MlflowRun

    class Broken:
        calls = 0

        def set_terminated(self, *_: Any) -> None:
            Broken.calls += 1
            raise ConnectionError("the server is gone")

    run = MlflowRun(Broken(), "r1")
    for _ in range(3):
        run.end()
    assert Broken.calls == 1


def test_an_error_that_says_nothing_does_not_end_a_training() -> None:
    from services.registry.mlflow_log import MlflowRun

    class Silent:
        def set_terminated(self, *_: Any) -> None:
            raise TimeoutError

    MlflowRun(Silent(), "r1").end()


def test_settings_within_settings_become_dotted_names() -> None:
    found = flat(run_config("small"))
    assert (found["name"], found["user_model.width"], found["ranker.hidden"]) == ("small", 32, (16, 8))
