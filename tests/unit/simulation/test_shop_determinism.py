"""The same config gives the same shop, however it is read."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from services.core.errors import InvalidInput
from services.simulation.batches import rebatch
from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop

DIGEST = """
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from services.simulation.config import ShopConfig
from services.simulation.shop import SimulatedShop

config = ShopConfig(end=datetime(2026, 11, 20, 12, tzinfo=UTC), users=600, items=120)
files = SimulatedShop(config).write(Path(sys.argv[1]))
print(*(sha256(path.read_bytes()).hexdigest() for path in (files.items, files.events, files.tastes)))
"""


def test_files_are_byte_identical_whatever_the_hash_seed(tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        digests.add(
            subprocess.run(
                [sys.executable, "-c", DIGEST, str(folder)],
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert len(digests) == 1


def test_a_second_shop_of_the_same_config_has_the_same_events_and_truth(
    config: ShopConfig, shop: SimulatedShop, events: pl.DataFrame
) -> None:
    again = SimulatedShop(config)
    assert_frame_equal(pl.concat(again.events()), events)
    assert_frame_equal(again.tastes(), shop.tastes())


def test_another_seed_gives_another_shop(config: ShopConfig, items: pl.DataFrame) -> None:
    other = pl.concat(SimulatedShop(replace(config, seed=8)).items())
    assert (other["title"] != items["title"]).mean() > 0.9


@pytest.mark.parametrize("batch_users", [97, 512, 5_000])
def test_batch_size_changes_no_event(shop: SimulatedShop, events: pl.DataFrame, batch_users: int) -> None:
    batches = list(shop.events(batch_users=batch_users))
    assert len(batches) == -(-shop.config.users // batch_users)
    assert_frame_equal(pl.concat(batches), events)


def test_item_batch_size_changes_no_item(shop: SimulatedShop, items: pl.DataFrame) -> None:
    assert_frame_equal(pl.concat(shop.items(batch_items=77)), items)


def test_pictures_are_the_same_drawn_alone_or_together(shop: SimulatedShop, tmp_path: Path) -> None:
    shop.draw_pictures(tmp_path / "all", ["p0000003", "p0000104"])
    shop.draw_pictures(tmp_path / "one", ["p0000104"])
    path = Path("products/04/p0000104.jpg")
    assert (tmp_path / "all" / path).read_bytes() == (tmp_path / "one" / path).read_bytes()


def test_only_the_blocks_that_a_batch_needs_are_made() -> None:
    """Memory stays bounded because nothing runs ahead of the reader."""
    made = []

    def blocks():
        for number in range(1_000):
            made.append(number)
            yield pl.DataFrame({"user_id": [f"u{number * 2:07}", f"u{number * 2 + 1:07}"]})

    batches = list(islice(rebatch(blocks(), block_users=2, users=2_000, batch_users=3), 4))
    assert [len(batch) for batch in batches] == [3, 3, 3, 3]
    assert made == [0, 1, 2, 3, 4, 5]


def test_truth_of_few_blocks_is_held_however_many_users_there_are(config: ShopConfig) -> None:
    shop = SimulatedShop(replace(config, users=512 * 12, events_per_user=2.0))
    for _ in shop.events():
        assert shop.truth.cache_info().currsize <= 8


@pytest.mark.parametrize(
    "wrong", [{"users": 0}, {"items": 0}, {"days": 0}, {"page_size": 0}, {"position_bias": float("nan")}, {"seed": -1}]
)
def test_an_impossible_config_is_refused(config: ShopConfig, wrong: dict) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        replace(config, **wrong)


def test_an_end_without_time_zone_is_refused(config: ShopConfig) -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        replace(config, end=config.end.replace(tzinfo=None))
