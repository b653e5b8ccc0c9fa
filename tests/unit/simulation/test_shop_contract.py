"""What the shop tells the outside is what the event and item contracts say."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from services.core.columns import EVENT_COLUMNS, EVENT_PROPERTIES, ITEM_COLUMNS
from services.core.errors import InvalidInput
from services.core.types import EventType
from services.simulation.config import ShopConfig
from services.simulation.event_frames import EVENT_SCHEMA
from services.simulation.shop import SimulatedShop

OPTIONAL = {"session_id", "request_id", "surface"}
REQUIRED = {"event_id", "user_id", "type", "timestamp", "properties"}


@pytest.fixture(scope="module")
def documents(shop: SimulatedShop) -> list[dict]:
    return list(shop.event_documents())


def test_every_event_type_occurs(events: pl.DataFrame) -> None:
    assert set(events["type"].unique()) == set(EventType)


def test_each_event_carries_the_fields_and_properties_of_its_type(documents: list[dict]) -> None:
    for event in documents:
        assert tuple(event["properties"]) == EVENT_PROPERTIES[event["type"]]
        expected = REQUIRED if event["type"] == "search" else REQUIRED | {"item_id"}
        assert expected <= set(event) <= expected | OPTIONAL


def test_property_values_are_in_their_ranges(events: pl.DataFrame, config: ShopConfig) -> None:
    ranges = {"position": (0, config.page_size - 1), "depth": (0, 1), "rating": (1, 5), "quantity": (1, 50)}
    for name, (low, high) in ranges.items():
        assert events[name].drop_nulls().is_between(low, high).all()
    assert (events["dwell_ms"].drop_nulls() > 0).all()
    assert (events["price"].drop_nulls() > 0).all()
    assert (events["query"].drop_nulls().str.len_chars() >= 3).all()
    assert not events["text"].drop_nulls().str.contains(r"[{}]|  ").any()


def test_event_ids_are_unique_and_short_enough(events: pl.DataFrame) -> None:
    assert events["event_id"].n_unique() == len(events)
    assert events["event_id"].str.len_bytes().max() <= 128


def test_timestamps_carry_an_offset_and_end_with_the_shop(documents: list[dict], config: ShopConfig) -> None:
    times = [datetime.fromisoformat(event["timestamp"]) for event in documents]
    assert all(time.utcoffset() == timedelta(0) for time in times)
    assert config.end - timedelta(days=config.days + 2) < min(times)
    assert config.end - timedelta(hours=6) < max(times) <= config.end


def test_frames_have_the_flat_schema_sorted_by_time_within_a_user(events: pl.DataFrame) -> None:
    assert dict(events.schema) == EVENT_SCHEMA
    assert [*events.columns, "synthetic_time"] == list(EVENT_COLUMNS)
    assert events["user_id"].is_sorted()
    steps = events.select(pl.col("timestamp").diff().over("user_id")).to_series().drop_nulls()
    assert (steps >= timedelta(0)).all()


def test_clicks_follow_an_impression_of_the_same_request_at_the_same_position(events: pl.DataFrame) -> None:
    key = ["user_id", "request_id", "item_id", "position"]
    clicks = events.filter(pl.col("type") == "click")
    shown = events.filter(pl.col("type") == "impression").select(*key, shown_at="timestamp")
    met = clicks.join(shown, on=key)
    assert len(met) == len(clicks)
    assert (met["shown_at"] < met["timestamp"]).all()


def test_purchases_follow_a_cart_of_the_item_and_reviews_a_purchase(events: pl.DataFrame) -> None:
    for later, earlier in (("purchase", "cart"), ("review", "purchase"), ("rating", "purchase")):
        after = events.filter(pl.col("type") == later)
        before = events.filter(pl.col("type") == earlier).group_by("user_id", "item_id").agg(pl.col("timestamp").min())
        met = after.join(before, on=["user_id", "item_id"], suffix="_before")
        assert len(met) == len(after) > 0
        assert (met["timestamp_before"] < met["timestamp"]).all()


def test_no_product_is_seen_before_it_is_published(events: pl.DataFrame, items: pl.DataFrame) -> None:
    seen = events.drop_nulls("item_id").join(items.select("item_id", "published_at"), on="item_id")
    assert (seen["published_at"] <= seen["timestamp"]).all()


def test_some_users_are_cold_and_activity_is_heavy_tailed(events: pl.DataFrame, config: ShopConfig) -> None:
    count = events.group_by("user_id").len()["len"]
    assert 0.01 < 1 - len(count) / config.users < 0.08
    assert count.max() > 5 * count.mean()
    assert 0.75 * config.events_per_user < count.sum() / config.users < 1.25 * config.events_per_user


def test_item_documents_hold_the_contract_and_only_present_attributes(shop: SimulatedShop) -> None:
    for item in shop.item_documents():
        assert list(item) == list(ITEM_COLUMNS)
        assert len(item["categories"]) == 3
        assert item["title"][0].isupper() or item["title"][0].isdigit()
        assert all(isinstance(value, str) for value in item["attributes"].values())
        assert item["image_urls"] == [f"file:products/{item['item_id'][-2:]}/{item['item_id']}.jpg"]
        assert datetime.fromisoformat(item["published_at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_written_files_hold_the_frames_and_keep_the_truth_apart(
    config: ShopConfig, tmp_path: Path, file_format: str
) -> None:
    small = SimulatedShop(replace(config, users=40, items=30))
    files = small.write(tmp_path, format=file_format)
    assert {path.name for path in files.events.parent.iterdir()} == {files.items.name, files.events.name}
    assert files.tastes.parent != files.events.parent
    assert len(pl.read_parquet(files.tastes)) == 40
    if file_format == "parquet":
        assert pl.read_parquet(files.events).equals(pl.concat(small.events()))
        assert pl.read_parquet(files.items).equals(pl.concat(small.items()))
    else:
        assert [json.loads(line) for line in files.events.open()] == list(small.event_documents())
        assert [json.loads(line) for line in files.items.open()] == list(small.item_documents())


def test_an_unknown_file_format_is_refused_with_the_known_ones(shop: SimulatedShop, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="jsonl, parquet"):
        shop.write(tmp_path, format="xlsx")


@pytest.mark.parametrize("size", [{"users": 1}, {"items": 1}, {"items": 5, "days": 1}, {"events_per_user": 0.0}])
def test_the_smallest_shops_work(config: ShopConfig, size: dict) -> None:
    small = SimulatedShop(replace(config, **{"users": 30, "items": 20} | size))
    frame = pl.concat(small.events())
    assert dict(frame.schema) == EVENT_SCHEMA
    assert set(frame["item_id"].drop_nulls()) <= set(pl.concat(small.items())["item_id"])
