"""An optional last slot that shows something new, with the probability that it was chosen."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Exploration:
    """Positions of the list after exploration, and float32 propensities beside them."""

    positions: NDArray[np.intp]
    propensities: NDArray[np.float32]


def explore(chosen: NDArray[np.intp], candidates: int, probability: float, seed: str) -> Exploration:
    """With `probability`, put a uniformly drawn candidate that is not in the list into its last slot.

    `seed` (the request's id) makes the draw repeatable. A propensity is the probability that the policy shows exactly
    this item in this slot: 1 for the slots above; for the last one 1 − p for the item it keeps, p / (number of items to
    draw from) for a drawn one.
    """
    propensities = np.ones(chosen.size, np.float32)
    others = candidates - chosen.size
    if probability <= 0 or not chosen.size or others <= 0:
        return Exploration(chosen, propensities)
    digest = hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    propensities[-1] = 1 - probability
    if random.random() >= probability:
        return Exploration(chosen, propensities)
    rest = np.setdiff1d(np.arange(candidates), chosen, assume_unique=True)
    positions = chosen.copy()
    positions[-1] = rest[random.integers(rest.size)]
    propensities[-1] = probability / others
    return Exploration(positions, propensities)
