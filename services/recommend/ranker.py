"""The interface of every ranker: the transparent blend, and the learned ones after it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Ranker(Protocol):
    """Scores user × item features. Columns are `services.features.transforms.FEATURES`."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, F) to float32 (n,): higher is better."""
        ...

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, F): what each feature adds to the score; what reasons are made of."""
        ...
