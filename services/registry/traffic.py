"""What users made of the lists of each model that serves: how a canary compares with the champion."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from services.db.impressions import outcomes_by_model
from services.registry.manifest import Measured

RESAMPLES = 1_000


@dataclass(frozen=True)
class ModelTraffic:
    """One model's share of the answers. `clicks` and `purchases` are means a list, with 95% intervals over users."""

    model: str
    users: int
    lists: int
    clicks: Measured
    purchases: Measured


def traffic_by_model(connection: Connection, since: datetime, until: datetime) -> list[ModelTraffic]:
    """The models that answered in [since, until), those with most lists first. Clicks and purchases count for the list
    whose `request_id` they name."""
    rows = outcomes_by_model(connection, since, until)
    models = np.array([row[0] for row in rows], object)
    counts = np.array([row[2:] for row in rows], np.float64).reshape(-1, 3)
    found = [_traffic(str(model), counts[models == model]) for model in np.unique(models.astype(str))]
    return sorted(found, key=lambda each: -each.lists)


def _traffic(model: str, counts: NDArray[np.float64]) -> ModelTraffic:
    """`counts` (users, 3): lists, clicks, purchases."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    sums = np.concatenate((np.ones((1, len(counts))), weights.astype(np.float64))) @ counts
    clicks, purchases = (_measured(sums[:, place] / sums[:, 0]) for place in (1, 2))
    return ModelTraffic(model, len(counts), int(counts[:, 0].sum()), clicks, purchases)


def _measured(means: NDArray[np.float64]) -> Measured:
    low, high = np.percentile(means[1:], [2.5, 97.5])
    return Measured(float(means[0]), float(low), float(high))
