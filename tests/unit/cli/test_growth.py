"""`portrait plan`: arithmetic over measured curves, and which part is full first."""

import json
import math

import pytest
from typer.testing import CliRunner

from services.cli.growth import Shop, curve, load_curves, plan
from services.cli.main import build_app

POINTS = [(10.0, 2.0), (100.0, 4.0), (1_000.0, 16.0)]


@pytest.mark.parametrize(
    ("at", "value"), [(1, 2.0), (10, 2.0), (100, 4.0), (math.sqrt(1_000), math.sqrt(8)), (1_000, 16.0), (10_000, 64.0)]
)
def test_a_curve_is_straight_in_logarithms_and_goes_on_as_it_ended(at: float, value: float) -> None:
    assert curve(POINTS, at) == pytest.approx(value)


def test_one_measured_point_is_a_constant() -> None:
    assert curve([(5.0, 3.0)], 1e9) == 3.0


def test_what_is_linear_in_users_is_linear() -> None:
    curves = load_curves()
    curves["online_store"]["bytes_per_user"] = [[1, 1_000]]
    curves["online_store"]["bytes_per_item"] = 0
    curves["online_store"]["shard_bytes"] = 1e9
    store = {part.name: part for part in plan(Shop(3_500_000, 1, 0, 0), curves).parts}["online store"]
    assert (store.memory, store.units, store.filled) == (3.5e9, 4, 3.5)


def test_rates_are_those_of_the_peak() -> None:
    curves = load_curves()
    curves["assumed"]["peak_over_mean"] = 2.0
    curves["tail"]["events_per_s"] = 100.0
    found = plan(Shop(1, 1, 86_400 * 300, 86_400), curves)
    assert (found.peak_events_per_s, found.peak_requests_per_s) == (600.0, 2.0)
    assert {part.name: part for part in found.parts}["tail"].cores == 6.0


@pytest.mark.parametrize(
    ("shop", "first"),
    [
        (Shop(10**9, 1_000, 1_000, 1_000), "online store"),
        (Shop(1_000, 10**9, 1_000, 1_000), "snapshot build"),
        (Shop(1_000, 1_000, 10**12, 1_000), "database"),
    ],
)
def test_what_is_large_is_full_first(shop: Shop, first: str) -> None:
    assert plan(shop).first.name == first


def test_more_of_anything_never_needs_less() -> None:
    small, large = plan(Shop(10**5, 10**4, 10**6, 10**5)), plan(Shop(10**6, 10**5, 10**7, 10**6))
    for before, after in zip(small.parts, large.parts, strict=True):
        assert after.cores >= before.cores and after.memory >= before.memory and after.units >= before.units


def test_the_command_prints_one_document_or_a_table() -> None:
    arguments = ["plan", "--users", "1000000000", "--items", "10000000", "--events-per-day", "5000000000"]
    answer = CliRunner().invoke(build_app(), [*arguments, "--json"])
    document = json.loads(answer.stdout)
    assert document["requests_per_day"] == 10**9
    assert document["total"]["memory_bytes"] == pytest.approx(sum(p["memory_bytes"] for p in document["parts"]), abs=10)
    assert document["saturates_first"]["part"] in {part["name"] for part in document["parts"]}
    assert "First full: " in CliRunner().invoke(build_app(), arguments).stdout
    assert CliRunner().invoke(build_app(), ["plan", "--users", "0"]).exit_code == 2


def test_every_part_says_where_it_was_measured() -> None:
    assert all("measured" in part for name, part in load_curves().items() if name not in ("assumed", "host"))
