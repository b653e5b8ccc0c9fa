"""Which items the user model's objective compares a hit with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.networks.item_inputs import ItemInputs
from services.networks.user_config import UserModelConfig
from services.networks.user_model import UserModel
from training.configs import UserModelSettings
from training.sequences import Tokens, TrainingWindows
from training.user_model import Catalogue, NextItems, UserModelTrainer

ITEMS = 12
UNSEEN = 11
SETTINGS = UserModelSettings(width=8, length=5, max_epochs=1, dropout=0.0, id_dropout=0.0, part_dropout=0.0)


def tokens() -> Tokens:
    """Two users with the items 0 to 4 and 5 to 10: nobody has item 11."""
    item = np.arange(UNSEEN, dtype=np.int32)
    user = (item >= 5).astype(np.int32)
    return Tokens(user, item, np.ones(UNSEEN, np.int64), np.full(UNSEEN, np.nan), np.ones(UNSEEN, bool))


def objective(negatives: int) -> NextItems:
    count = np.float32([1] * UNSEEN + [0])
    ids = np.where(count > 0, np.arange(1, ITEMS + 1), 0).astype(np.int32)
    none = np.zeros(ITEMS, np.int32)
    inputs = ItemInputs(np.eye(ITEMS, 16, dtype=np.float32), np.zeros((ITEMS, 8), np.int32), none, none, ids, count)
    return NextItems(tokens(), inputs, replace(SETTINGS, negatives=negatives), seed=0)


def test_small_catalogues_compare_with_every_item_that_anybody_had() -> None:
    rows, stands = objective(negatives=100)._columns(np.array([2, 7]))
    assert (rows.tolist(), stands.tolist()) == ([2, 7, 0, 1, 3, 4, 5, 6, 8, 9, 10], [1.0] * 11)


def test_a_sample_stands_for_the_items_that_were_not_drawn() -> None:
    rows, stands = objective(negatives=3)._columns(np.array([2, 7]))
    assert rows[:2].tolist() == [2, 7] and stands.tolist() == [1, 1, 3, 3, 3]
    assert len(set(rows.tolist())) == 5 and UNSEEN not in rows


@pytest.mark.parametrize("negatives", [100, 3])
def test_the_loss_is_the_softmax_over_those_items(negatives: int) -> None:
    torch.manual_seed(0)
    model = UserModel(UserModelConfig(16, ITEMS, 1, 1, width=8, length=5), 0.0, 0.0, 0.0)
    torch.nn.init.normal_(model.tower.id.weight)
    mine, twin = objective(negatives), objective(negatives)
    for each in (mine, twin):
        each._half = False
        each._items.content = each._items.content.float()
    batch = TrainingWindows(tokens(), length=5, window=1, decay=0.5).batch(np.array([0, 1]))
    with torch.no_grad():
        loss = float(mine.loss(model, batch))
        rows, stands = twin._columns(np.arange(UNSEEN) if negatives == 100 else np.unique(tokens().item))
        vectors = model.items(twin._items)
        query = twin._queries(model, vectors, tokens().item[batch.rows], batch)
        logits = query @ vectors.T / SETTINGS.temperature
        every = torch.logsumexp(logits[:, rows] + torch.log(torch.as_tensor(stands)), dim=1)
        expected = (every - logits[torch.arange(len(every)), torch.as_tensor(batch.hits[:, 0]).long()]).mean()
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_a_checkpoint_is_of_these_events_and_of_what_is_known_of_the_items(tmp_path: Path) -> None:
    content, ids = np.eye(ITEMS, 16, dtype=np.float32), tuple(f"i{n}" for n in range(ITEMS))
    plain = Catalogue(ids, content, ((),) * ITEMS, (None,) * ITEMS, np.ones(ITEMS))
    named = replace(plain, brands=("acme",) * ITEMS)
    later = replace(tokens(), type=tokens().type + 1)
    folders = {
        UserModelTrainer(catalogue, SETTINGS, checkpoints=tmp_path)._checkpoint(events, 0, 2)
        for catalogue, events in ((plain, tokens()), (plain, tokens()), (named, tokens()), (plain, later))
    }
    assert len(folders) == 3


def test_a_finished_training_is_taken_up_from_its_folder(tmp_path: Path) -> None:
    content = np.eye(ITEMS, 16, dtype=np.float32)
    catalogue = Catalogue(tuple(f"i{n}" for n in range(ITEMS)), content, ((),) * ITEMS, (None,) * ITEMS, np.ones(ITEMS))
    heard: list[float] = []
    fits = [
        UserModelTrainer(
            catalogue, SETTINGS, checkpoints=tmp_path, tell=lambda figures: heard.append(figures["epoch"])
        ).fit(tokens(), seed, epochs=2)
        for seed in (0, 0, 1)
    ]
    assert heard == [1, 2, 1, 2]  # the second one trained nothing
    assert np.array_equal(fits[0].vectors, fits[1].vectors) and not np.array_equal(fits[0].vectors, fits[2].vectors)
