"""The printed portrait: what a shop's analyst reads."""

from io import StringIO

import numpy as np
from profile_rows import AS_OF, DAY
from rich.console import Console
from worked_example import mias_events, portrait, shop

from services.cli.portrait_page import ago, bar, print_portrait
from services.features.portrait import cold_portrait

TITLES = {"lipstick": "Velvet [Matte] Lipstick", "serum": "Night Serum", "mascara": "Long Lash Mascara"}


def page(found, now: float = AS_OF + DAY) -> str:
    text = StringIO()
    print_portrait(Console(file=text, width=140, highlight=False), found, TITLES, now)
    return text.getvalue()


def test_the_page_shows_titles_shares_and_ages():
    catalogue = shop()
    text = page(portrait(mias_events(catalogue), catalogue))
    for expected in (
        "mia  active  confidence 0.34",
        "4 events, the newest 1d 0h ago",
        "61% ██████████▉  Lipstick · Rouge  like Velvet [Matte] Lipstick lipstick",
        "37% ██████████████████  Rouge",
        "typically 18.83, mostly 11.17 to 31.76",
        "dwell (s)   0   0  40   40",
        "depth mean 0.50",
        "Night Serum serum",
        "+0.61",
    ):
        assert expected in text, text


def test_a_cold_portrait_is_a_page_too():
    text = page(cold_portrait("nobody [yet]", AS_OF))
    assert "nobody [yet]  new" in text
    assert "the newest never" in text


def test_bars_are_proportional_to_an_eighth_of_a_block():
    assert [bar(share, 4) for share in (0.0, 0.5, 0.53, 1.0, 7.0)] == ["", "██", "██▏", "████", "████"]


def test_ages_are_readable():
    assert [ago(seconds) for seconds in (3.0, 61.0, 2 * DAY)] == ["just now", "1m 1s ago", "2d 0h ago"]


def test_an_item_that_left_the_catalogue_is_marked():
    catalogue = shop()
    found = portrait(mias_events(catalogue), catalogue)
    text = StringIO()
    print_portrait(Console(file=text, width=140), found, {}, AS_OF)
    assert "serum (not in the catalogue)" in text.getvalue()
    assert np.isfinite(found.confidence)
