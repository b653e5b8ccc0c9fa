"""RecTools' SASRec with sampled softmax, like for like: lists for `portrait evaluate --lists`, and seconds an epoch.

It runs in an environment of its own, where `rectools[torch]` is installed and Portrait is not:

    python benchmarks/_rectools_sasrec.py user_sequence.txt.gz OUT [--seed N] [--width 64] [--max-epochs 60]

and writes `OUT/unrefitted.csv`, `OUT/test.csv` (`user_id`, `item_id`, `rank`) and `OUT/answer.json`. A user's last item
tests, the one before it validates. The number of epochs is the one with the best Recall@10 on the validation items,
looked at every few epochs; `test` is then trained anew with as many. Settings are those of eSASRec (RecSys 2025) for
this data: width 64, one block, one head, dropout 0.2, 50 items, 256 negatives, learning rate 1e-3, batches of 128.

RecTools computes 257 scores for each of 50 places a user, most of them padding that its loss then ignores. For lists
the same loss is computed at the places that count alone (`RealPlaces`): the same model, several times faster.
`--only-time` times RecTools as it is.
"""

import argparse
import gzip
import json
import resource
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.lightning import TransformerLightningModule

LISTED = 500
LOOK_EVERY, PATIENCE = 5, 2
SETTINGS: dict[str, Any] = {
    "n_blocks": 1,
    "n_heads": 1,
    "dropout_rate": 0.2,
    "session_max_len": 50,
    "loss": "sampled_softmax",
    "n_negatives": 256,
    "lr": 1e-3,
    "batch_size": 128,
    "epochs": LOOK_EVERY,
}


class RealPlaces(TransformerLightningModule):
    """Sampled softmax over the places that have a target: RecTools' own loss without the padding it leaves out."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        real = batch["yw"] > 0
        items = self.torch_model.item_model.get_all_embeddings()
        sessions = self.torch_model.encode_sessions(batch, items)[real]
        asked = torch.cat((batch["y"][..., None], batch["negatives"]), dim=-1)[real]
        every = self.torch_model.similarity_module(sessions[None], items)[0] / self.logits_t
        logits = every.gather(1, asked)
        loss = torch.nn.functional.cross_entropy(logits, torch.zeros_like(asked[:, 0]))
        self.log(self.train_loss_name, loss, on_step=False, on_epoch=True)
        return loss


class Clock(Callback):
    """The processor's and the clock's seconds of some batches, from the end of the first one on."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []
        self.batches_an_epoch = 0

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.batches_an_epoch = len(trainer.train_dataloader)

    def on_train_batch_end(self, *_: Any) -> None:
        self.marks.append((time.process_time(), time.perf_counter()))


def read(path: Path) -> pd.DataFrame:
    """One row an event, oldest first; `from_end` is 0 for a user's last."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        rows = [
            (words[0], item, at, len(words) - 2 - at)
            for words in map(str.split, file)
            for at, item in enumerate(words[1:])
        ]
    frame = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, "at", "from_end"])
    frame[Columns.Datetime] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["at"], unit="D")
    frame[Columns.Weight] = 1.0
    return frame


def dataset(frame: pd.DataFrame) -> Dataset:
    return Dataset.construct(frame[[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime]])


def lists(model: SASRecModel, history: pd.DataFrame) -> pd.DataFrame:
    """The first items of every user, without those of his history."""
    found = model.recommend(history[Columns.User].unique(), dataset(history), k=LISTED, filter_viewed=True)
    return found[[Columns.User, Columns.Item, Columns.Rank]]


def recall(found: pd.DataFrame, targets: pd.DataFrame, k: int = 10) -> float:
    first = found[found[Columns.Rank] <= k]
    return len(first.merge(targets[[Columns.User, Columns.Item]])) / len(targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequences", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--max-epochs", type=int, default=60)
    parser.add_argument("--only-time", type=int, default=0, help="time so many batches, and do nothing else")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    frame = read(asked.sequences)
    known, refit = frame[frame["from_end"] >= 2], frame[frame["from_end"] >= 1]
    validation, test = frame[frame["from_end"] == 1], frame[frame["from_end"] == 0]

    if asked.only_time:
        print(json.dumps(epoch_seconds(known, asked.width, asked.only_time)))
        return
    seed_everything(asked.seed)
    model = SASRecModel(n_factors=asked.width, lightning_module_type=RealPlaces, **SETTINGS)
    best, best_epochs, waited, epochs, seconds, history = -1.0, 0, 0, 0, 0.0, []
    while epochs < asked.max_epochs and waited < PATIENCE:
        began = time.perf_counter()
        model.fit_partial(dataset(known), min_epochs=LOOK_EVERY, max_epochs=LOOK_EVERY)
        seconds += time.perf_counter() - began
        epochs += LOOK_EVERY
        reached = recall(lists(model, known), validation)
        history.append({"epochs": epochs, "validation_recall@10": reached, "seconds": round(seconds, 1)})
        print(history[-1], flush=True)
        waited += 1
        if reached > best:
            best, best_epochs, waited = reached, epochs, 0
            unrefitted = lists(model, refit)
    save(unrefitted, asked.out / "unrefitted.csv")
    seed_everything(asked.seed)
    final = SASRecModel(n_factors=asked.width, lightning_module_type=RealPlaces, **{**SETTINGS, "epochs": best_epochs})
    began = time.perf_counter()
    final.fit(dataset(refit))
    refit_seconds = time.perf_counter() - began
    refitted = lists(final, refit)
    save(refitted, asked.out / "test.csv")
    answer = {
        "epochs": best_epochs,
        "seconds_an_epoch": round(refit_seconds / best_epochs, 2),
        "recall@10": {"unrefitted": recall(unrefitted, test), "test": recall(refitted, test)},
        "history": history,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    (asked.out / "answer.json").write_text(json.dumps(answer, indent=1))
    print(answer)


def epoch_seconds(known: pd.DataFrame, width: int, batches: int) -> dict[str, float]:
    """Of an epoch of RecTools as it is, from the mean of so many batches: the processor's seconds and the clock's."""
    seed_everything(0)

    def trainer() -> Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return Trainer(max_epochs=1, limit_train_batches=batches + 1, accelerator="cpu", callbacks=[Clock()], **quiet)

    model = SASRecModel(n_factors=width, get_trainer_func=trainer, **SETTINGS).fit(dataset(known))
    clock = next(each for each in model.fit_trainer.callbacks if isinstance(each, Clock))  # RecTools copies its trainer
    timed = len(clock.marks) - 1
    cpu, wall = (
        (end - begin) / timed * clock.batches_an_epoch
        for begin, end in zip(clock.marks[0], clock.marks[-1], strict=True)
    )
    return {"cpu_seconds": round(cpu, 2), "wall_seconds": round(wall, 2), "timed_batches": timed}


def save(found: pd.DataFrame, path: Path) -> None:
    found.rename(columns={Columns.User: "user_id", Columns.Item: "item_id", Columns.Rank: "rank"}).to_csv(
        path, index=False
    )


if __name__ == "__main__":
    main()
