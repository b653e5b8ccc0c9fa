"""Trains a user model on several Ray workers (Ray Train), on the GPUs or cores of one machine or of a cluster.

`RAY_ADDRESS` names a cluster; without it one is started on this machine for the length of the training. On several
machines `checkpoints` must be a folder that all of them see.
"""

import os
import pickle
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from training.parallel import Group

if TYPE_CHECKING:
    from training.user_model import Fitted, UserModelTrainer

FITTED = "fitted.pickle"
HEARD_S = 0.5
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Nothing is reported to anybody."""


def fit_on_workers(trainer: "UserModelTrainer", arguments: tuple, workers: int) -> "Fitted":
    """What `trainer.fit_here(*arguments)` would return, computed by so many processes together."""
    import ray  # noqa: PLC0415 - only where it is asked for: training runs without Ray
    from ray.train import RunConfig, ScalingConfig  # noqa: PLC0415 - as above
    from ray.train.torch import TorchTrainer  # noqa: PLC0415 - as above
    from ray.util.queue import Queue  # noqa: PLC0415 - as above

    with _cluster(workers), tempfile.TemporaryDirectory(prefix="portrait-ray-") as storage:
        told = Queue(actor_options={"num_cpus": 0})
        plain = replace_tell(trainer)
        run = TorchTrainer(
            _work,
            train_loop_config={"work": ray.put((plain, arguments)), "told": told},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=trainer.device.startswith("cuda")),
            run_config=RunConfig(name="user-model", storage_path=storage),
        )
        result = _heard(run.fit, told, trainer)
        with result.checkpoint.as_directory() as folder:
            return pickle.loads((Path(folder) / FITTED).read_bytes())


def replace_tell(trainer: "UserModelTrainer") -> "UserModelTrainer":
    """The trainer without what cannot travel: whoever listens stays here."""
    return trainer.with_(tell=_nobody, workers=1)


def _nobody(_: dict[str, Any]) -> None:
    return


def _work(config: dict[str, Any]) -> None:
    """In each worker: the same fit, with a share of every batch; the first worker's result is kept."""
    import ray  # noqa: PLC0415 - as above
    from ray.train import Checkpoint, report  # noqa: PLC0415 - as above
    from ray.train.torch import get_device  # noqa: PLC0415 - as above

    trainer, arguments = ray.get(config["work"])
    device = str(get_device())
    group = Group(device)
    tell = config["told"].put if group.rank == 0 else _nobody
    fitted = trainer.with_(tell=tell, device=device, group=group).fit_here(*arguments)
    if group.rank:
        report({})
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = replace(fitted, trained=replace(fitted.trained, model=fitted.trained.model.cpu()))
        (Path(folder) / FITTED).write_bytes(pickle.dumps(kept))
        report({}, checkpoint=Checkpoint.from_directory(folder))


def _heard(fit: Any, told: Any, trainer: "UserModelTrainer") -> Any:
    """The result of `fit`, which runs in a thread, while this one passes on what the workers tell."""
    found: dict[str, Any] = {}

    def run() -> None:
        try:
            found["result"] = fit()
        except Exception as error:
            found["error"] = error

    thread = threading.Thread(target=run, name="ray-train")
    thread.start()
    while thread.is_alive() or not told.empty():
        try:
            trainer.tell(told.get(timeout=HEARD_S))
        except Empty:
            continue
    thread.join()
    if "error" in found:
        raise found["error"]
    return found["result"]


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    import ray  # noqa: PLC0415 - as above

    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, log_to_driver=False)
    else:
        ray.init(
            address="local",
            num_cpus=max(workers, os.cpu_count() or 1),
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()
