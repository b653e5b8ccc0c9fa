"""What users type into the search box: colour, brand and product words, now and then misspelt."""

from functools import cache

import numpy as np
import polars as pl

from services.simulation.pages import Pages, Surface
from services.simulation.parameters import behaviour
from services.simulation.vocabulary import vocabulary

MISSPELLINGS = 3


def misspelt(text: str, way: int) -> str:
    """A plausible typing slip in the text's longest word: two letters swapped, one dropped, or one doubled."""
    word = max(text.split(), key=len)
    if len(word) < 4:
        return text
    at = 1 + (7 * len(word) + 3 * way) % (len(word) - 2)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    return text.replace(word, slips[way % MISSPELLINGS])


@cache
def _misspelt_words() -> pl.Series:
    """Each query word's slips, `MISSPELLINGS` of them in a row."""
    return pl.Series([misspelt(word, way) for word in vocabulary().queries.flat for way in range(MISSPELLINGS)])


def draw_queries(pages: Pages, rng: np.random.Generator) -> tuple[np.ndarray, pl.Series]:
    """The search pages (indices) and the query typed on each."""
    words = vocabulary()
    page = np.flatnonzero(pages.surface == Surface.SEARCH)
    word = words.queries.draw(pages.leaf[page], rng.random(len(page)))
    right = words.queries.flat.gather(word)
    wrong = _misspelt_words().gather(word * MISSPELLINGS + rng.integers(MISSPELLINGS, size=len(page)))
    slipped = pl.Series(rng.random(len(page)) < behaviour().session.misspelt)
    parts = pl.DataFrame(
        {
            "colour": _named(words.colour_names, pages.query_colour[page]),
            "brand": _named([name.lower() for name in words.brand_names], pages.query_brand[page]),
            "word": wrong.zip_with(slipped, right),
        }
    )
    return page, parts.select(pl.concat_str("colour", "brand", "word", separator=" ", ignore_nulls=True)).to_series()


def _named(names: list[str], index: np.ndarray) -> pl.Series:
    """Names by number; -1 gives null."""
    return (
        pl.Series(names)
        .gather(pl.Series(np.where(index < 0, 0, index)))
        .zip_with(
            pl.Series(index >= 0), pl.Series([None], dtype=pl.String).gather(np.zeros(len(index), dtype=np.int64))
        )
    )
