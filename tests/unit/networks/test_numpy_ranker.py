"""The ranker in NumPy gives what it gives in torch, and its value is what its tasks are worth."""

from pathlib import Path

import numpy as np
import torch

from services.networks.numpy_ranker import NumpyRanker
from services.networks.ranker_config import RankerConfig
from services.networks.ranker_network import RankerNetwork

FEATURES = tuple("abcde")


def network(config: RankerConfig) -> RankerNetwork:
    torch.manual_seed(1)
    made = RankerNetwork(config).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_()
        made.mean.normal_()
        made.scale.uniform_(0.5, 2)
    return made


def numpy_of(made: RankerNetwork, config: RankerConfig, calibration: list[list[float]]) -> NumpyRanker:
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    return NumpyRanker(config, weights, np.float32(calibration))


def test_numpy_and_torch_agree_and_files_keep_everything(tmp_path: Path) -> None:
    config = RankerConfig(FEATURES, hidden=(7, 4))
    made = network(config)
    mine = numpy_of(made, config, [[1, 0], [2, -1], [0.5, 3]])
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32) * 3
    with torch.no_grad():
        assert np.allclose(mine.logits(x), made(torch.as_tensor(x)).numpy(), atol=1e-4)
    mine.save(tmp_path / "ranker.safetensors")
    again = NumpyRanker.load(tmp_path / "ranker.safetensors")
    assert again.config == config
    assert np.array_equal(again.value(x), mine.value(x))


def test_value_by_hand() -> None:
    config = RankerConfig(FEATURES, hidden=(7, 4), value=(1.0, 4.0, 16.0), trained=("click", "purchase"))
    mine = numpy_of(network(config), config, [[1, 0], [1, 0], [1, 0]])
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    odds = np.exp(mine.logits(x).astype(float))
    assert np.allclose(mine.value(x), np.log(odds[:, 0] + 16 * odds[:, 2]), atol=1e-4)  # carts were never trained
