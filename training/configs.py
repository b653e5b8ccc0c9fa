"""Settings of training runs, by name. What should depend on a shop's size does so by a rule, stated here."""

from dataclasses import dataclass, replace

from services.core.errors import InvalidInput

FULL_SOFTMAX = 2
"""Up to so many times `negatives` every item is a negative; beyond, a sample."""


@dataclass(frozen=True)
class UserModelSettings:
    """How a user model is built and trained.

    `window`: each event predicts so many of the user's next target events, the n-th with weight `window_decay`^n:
    events of one day have no order worth learning. `negatives`: items sampled a batch
    in larger catalogues (`FULL_SOFTMAX`).
    `patience`: epochs without a better validation before training ends. `average`: decay of the weights' moving
    average, which is what is kept. `validation_users`: of whom the last event chooses the number of epochs.
    `auxiliary`: weight of the self-supervised objective (`training.auxiliary`; 0: without it).
    """

    width: int = 128
    blocks: int = 1
    heads: int = 1
    length: int = 50
    dropout: float = 0.5
    id_dropout: float = 0.1
    part_dropout: float = 0.05
    temperature: float = 0.05
    window: int = 1
    window_decay: float = 0.5
    negatives: int = 4_096
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_users: int = 128
    accumulate: int = 1
    max_epochs: int = 40
    patience: int = 3
    average: float = 0.995
    validation_users: int = 5_000
    warm_up_steps: int = 100
    auxiliary: float = 0.0


@dataclass(frozen=True)
class RankerSettings:
    """How a ranker is built and trained. `users`: at most so many users' lists; `held_out`: the share of them that
    chooses the epoch. `value`: what a click, a cart and a purchase are worth."""

    hidden: tuple[int, int] = (64, 32)
    dropout: float = 0.1
    value: tuple[float, float, float] = (1.0, 4.0, 16.0)
    users: int = 20_000
    held_out: float = 0.15
    calibration_users: int = 2_000
    batch_users: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average: float = 0.99
    max_epochs: int = 30
    patience: int = 4


@dataclass(frozen=True)
class RunConfig:
    """A named run of `portrait train` and `portrait evaluate --config`."""

    name: str
    user_model: UserModelSettings
    ranker: RankerSettings


_DEFAULT = UserModelSettings()

CONFIGS: dict[str, RunConfig] = {
    "default": RunConfig("default", _DEFAULT, RankerSettings()),
    "small": RunConfig(
        "small", replace(_DEFAULT, width=32, max_epochs=3), RankerSettings(hidden=(16, 8), max_epochs=3)
    ),
}


def run_config(name: str) -> RunConfig:
    """The configuration of a name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in CONFIGS:
        raise InvalidInput(f"There is no configuration {name!r}: --config takes {', '.join(CONFIGS)}")
    return CONFIGS[name]
