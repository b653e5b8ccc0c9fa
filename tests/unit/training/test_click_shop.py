"""The simulated shop that `portrait bench search_clicks` learns from."""

import numpy as np

from benchmarks._click_shop import PAGE, ClickShop, ClickShopConfig
from services.search.features import FEATURES
from services.search.ranker import untrained_vector


def test_shoppers_click_on_what_they_are_shown():
    shop = ClickShop(ClickShopConfig(items=120, users=20, queries=3, candidates=20, searches=50))
    assert shop.features.shape == (60, len(FEATURES)) and np.isfinite(shop.features).all()
    assert (np.abs(shop.features).max(axis=0) > 0).sum() > 10
    seen = shop.search(shop.features @ untrained_vector(), 0)
    assert len(seen.row) == 3 * 50 * PAGE and 0 < seen.clicked.mean() < 0.5
    assert seen.clicked[seen.position == 0].mean() > seen.clicked[seen.position == PAGE - 1].mean()
