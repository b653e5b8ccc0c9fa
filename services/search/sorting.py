"""Orders other than relevance."""

import numpy as np
from numpy.typing import NDArray

from services.features.snapshot import ItemSnapshot
from services.search.request import Sort

RATING_PRIOR_COUNT = 5.0
"""Ratings of the neutral value 3 that every item is given beforehand."""


def sort_values(sort: Sort, snapshot: ItemSnapshot, items: NDArray[np.int32]) -> NDArray[np.float64]:
    """What the items are sorted by, float64 (n,), the greatest first; −inf where it is not known."""
    if sort is Sort.PRICE_ASCENDING:
        values = -snapshot.price[items].astype(np.float64)
    elif sort is Sort.PRICE_DESCENDING:
        values = snapshot.price[items].astype(np.float64)
    elif sort is Sort.NEWEST:
        values = snapshot.published_at[items]
    elif sort is Sort.RATING:
        mean = snapshot.engagement_column("rating_mean")[items].astype(np.float64)
        count = np.nan_to_num(snapshot.engagement_column("rating_count")[items])
        values = (mean - 3) * count / (count + RATING_PRIOR_COUNT)
    else:
        values = snapshot.engagement_column("popularity")[items].astype(np.float64)
    return np.where(np.isnan(values), -np.inf, values)
