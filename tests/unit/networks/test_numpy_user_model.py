"""The user model in NumPy gives what it gives in torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from services.networks.item_inputs import ItemInputs, Vocabulary, price_buckets, price_edges
from services.networks.item_tower import TowerItems
from services.networks.numpy_user_model import NumpyUserModel
from services.networks.user_config import UserModelConfig
from services.networks.user_model import UserModel

rng = np.random.default_rng(1)


def make_items(count: int, config: UserModelConfig) -> ItemInputs:
    content = rng.normal(size=(count, config.content)).astype(np.float32)
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    content[::7] = 0
    ids = rng.integers(0, config.items + 1, count).astype(np.int32)
    return ItemInputs(
        content=content,
        categories=rng.integers(0, config.categories + 1, (count, 8)).astype(np.int32),
        brand=rng.integers(0, config.brands + 1, count).astype(np.int32),
        price=rng.integers(0, 17, count).astype(np.int32),
        id=ids,
        count=np.where(ids > 0, rng.integers(1, 90, count), 0).astype(np.float32),
    )


def random_model(config: UserModelConfig) -> UserModel:
    torch.manual_seed(0)
    model = UserModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
        for table in (model.tower.category, model.tower.brand, model.tower.price, model.tower.id):
            table.weight[0] = 0
    return model


def numpy_of(model: UserModel) -> NumpyUserModel:
    return NumpyUserModel(model.config, {name: value.numpy() for name, value in model.state_dict().items()})


@pytest.mark.parametrize(("blocks", "heads", "timed"), [(1, 1, True), (2, 4, True), (3, 2, False)])
def test_numpy_and_torch_agree(blocks: int, heads: int, timed: bool) -> None:
    config = UserModelConfig(24, 40, 9, 5, width=32, blocks=blocks, heads=heads, length=12)
    model = random_model(config)
    items = make_items(60, config)
    mine = numpy_of(model)
    with torch.no_grad():
        vectors = model.items(TowerItems.of(items))
        assert np.allclose(mine.item_vectors(items), vectors.numpy(), atol=1e-4)
        for length in (1, 2, 12):
            rows = rng.integers(0, 60, length)
            types = rng.integers(0, 10, length)
            times = np.cumsum(rng.exponential(5e4, length)) if timed else np.full(length, np.nan)
            theirs = model.queries(
                vectors[rows][None],
                torch.tensor(types)[None],
                torch.tensor(times)[None],
                torch.ones((1, length), dtype=torch.bool),
            )[0, -1]
            assert np.allclose(mine.query(vectors.numpy()[rows], types, times), theirs.numpy(), atol=1e-4)


def test_a_later_event_changes_no_earlier_answer_and_padding_none() -> None:
    config = UserModelConfig(8, 20, 3, 3, width=16, length=6)
    model = random_model(config)
    vectors = torch.randn(2, 5, 16)
    types, times = torch.ones(2, 5, dtype=torch.long), torch.arange(5.0).repeat(2, 1) * 1e4
    known = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with torch.no_grad():
        whole = model.queries(vectors, types, times, known)
        part = model.queries(vectors[:, :3], types[:, :3], times[:, :3], known[:, :3])
    assert torch.allclose(whole[:, :3], part, atol=1e-5)


def test_only_the_last_events_are_read() -> None:
    config = UserModelConfig(8, 20, 3, 3, width=16, length=4)
    mine = numpy_of(random_model(config))
    vectors, types, times = rng.normal(size=(9, 16)).astype(np.float32), np.ones(9, int), np.arange(9) * 1e5
    assert np.array_equal(mine.query(vectors, types, times), mine.query(vectors[-4:], types[-4:], times[-4:]))
    assert not mine.query(vectors[:0], types[:0], times[:0]).any()


def test_a_saved_model_is_the_same_when_loaded(tmp_path: Path) -> None:
    config = UserModelConfig(8, 20, 3, 3, width=16)
    mine = numpy_of(random_model(config))
    mine.save(tmp_path / "model.safetensors")
    loaded = NumpyUserModel.load(tmp_path / "model.safetensors")
    items = make_items(10, config)
    assert loaded.config == config
    assert np.array_equal(loaded.item_vectors(items), mine.item_vectors(items))


def test_items_in_the_words_of_a_vocabulary() -> None:
    prices = np.array([1.0, 2.0, 3.0, np.nan, 0.0])
    words = Vocabulary(("a", "b"), ("x", "y"), ("acme",), (1.5, 2.5), np.array([4, 0], np.float32))
    found = words.encode(
        np.zeros((3, 2), np.float32), ["b", "a", "new"], [["x", "?", "y"], [], ["y"]], ["acme", None, "?"], prices[:3]
    )
    assert found.id.tolist() == [0, 1, 0]  # b was in no example: its id says nothing
    assert found.count.tolist() == [0.0, 4.0, 0.0]
    assert found.categories[:, :3].tolist() == [[1, 2, 0], [0, 0, 0], [2, 0, 0]]
    assert (found.brand.tolist(), found.price.tolist()) == ([1, 0, 0], [1, 2, 3])
    assert price_buckets(prices, (1.5, 2.5)).tolist() == [1, 2, 3, 0, 0]
    assert price_edges(np.array([np.nan, 0.0])) == ()
    assert list(price_edges(np.arange(1.0, 100.0))) == sorted(price_edges(np.arange(1.0, 100.0)))
