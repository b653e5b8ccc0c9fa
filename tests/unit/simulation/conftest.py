"""One small shop for all tests of the simulation."""

from datetime import UTC, datetime

import polars as pl
import pytest

from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop

END = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def config() -> ShopConfig:
    return ShopConfig(end=END, users=1_300, items=900, seed=7)


@pytest.fixture(scope="session")
def shop(config: ShopConfig) -> SimulatedShop:
    return SimulatedShop(config)


@pytest.fixture(scope="session")
def events(shop: SimulatedShop) -> pl.DataFrame:
    return pl.concat(shop.events())


@pytest.fixture(scope="session")
def items(shop: SimulatedShop) -> pl.DataFrame:
    return pl.concat(shop.items())
