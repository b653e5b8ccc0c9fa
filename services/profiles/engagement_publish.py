"""Which items' features are worth a new row.

An item on which something happened is written when its rounded features changed. The others move only because the shop
does (popularity, trend and the rates are measured against all items): they are written when that has come to matter,
or else a click anywhere would rewrite a share of the whole catalogue.
"""

import numpy as np
from numpy.typing import NDArray

from feature_repo import names

SLACK: dict[str, tuple[float, float]] = {
    "popularity": (0.002, 0.0),
    "trend": (0.01, 0.01),
    "click_rate": (1e-5, 0.02),
    "purchase_rate": (1e-5, 0.02),
    "rating_mean": (0.01, 0.0),
    "sentiment_mean": (0.01, 0.0),
}
"""How far (absolute plus relative) a feature may move by the shop's doing before an untouched item is written again."""

_SLACK = np.array([SLACK.get(name, (0.0, 0.0)) for name in names.ENGAGEMENT_FEATURES], np.float32)


def changed_items(
    features: NDArray[np.float32],
    published: NDArray[np.float32],
    known: NDArray[np.bool_],
    touched: NDArray[np.bool_],
    shop: bool = True,
) -> NDArray[np.int64]:
    """The columns of `features` (features, items) that are to be written, given what was `published`.

    `known`: whether an item was ever written; `touched`: whether something happened on it since; `shop`: whether those
    are asked for too that moved by what happened elsewhere in the shop.
    """
    appeared = (np.isnan(features) != np.isnan(published)).any(axis=0)
    moved = np.abs(features - published)
    beyond = (moved > _SLACK[:, :1] + _SLACK[:, 1:] * np.abs(published)).any(axis=0)
    differs = (moved > 0).any(axis=0)  # NaN compares as False
    return np.flatnonzero(~known | (touched & (appeared | differs)) | (shop & (appeared | beyond)))
