"""Review texts: varied English sentences whose sentiment is that of the stars."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from services.simulation.catalogue import Catalogue
from services.simulation.vocabulary import Choices, read_table, vocabulary

STARS = 5
BAD, MIXED, GOOD = 0, 1, 2
TONE_OF_STARS = np.array([BAD, BAD, BAD, MIXED, GOOD, GOOD])  # by number of stars; 0 is never used
SECOND_SENTENCE = 0.45
COLOUR_SENTENCE = 0.2


@dataclass(frozen=True)
class ReviewWords:
    openers: Choices  # by stars - 1
    closers: Choices
    aspects: Choices  # by kind * 3 + tone
    colour: Choices  # by tone (good or bad)
    leaf_kind: np.ndarray


@cache
def review_words() -> ReviewWords:
    table = read_table("reviews.toml")
    kinds = list(table["kinds"])
    tones = ("bad", "mixed", "good")
    return ReviewWords(
        openers=Choices.of([table["openers"][str(stars)] for stars in range(1, STARS + 1)]),
        closers=Choices.of([table["closers"][str(stars)] for stars in range(1, STARS + 1)]),
        aspects=Choices.of([table["kinds"][kind][tone] for kind in kinds for tone in tones]),
        colour=Choices.of([table["colour"]["bad"], table["colour"]["bad"], table["colour"]["good"]]),
        leaf_kind=np.array([kinds.index(leaf["kind"]) for leaf in vocabulary().leaves]),
    )


def write_reviews(catalogue: Catalogue, item: np.ndarray, stars: np.ndarray, rng: np.random.Generator) -> pl.Series:
    """One text for each review of `item` with `stars` (1–5)."""
    review, n = review_words(), len(item)
    leaf = catalogue.leaf[item]
    tone = TONE_OF_STARS[stars]
    row = review.leaf_kind[leaf] * 3 + tone
    first = review.aspects.draw(row, rng.random(n))
    second = review.aspects.start[row] + (first - review.aspects.start[row] + 1) % review.aspects.count[row]
    talks_more = (rng.random(n) < SECOND_SENTENCE) & (tone != MIXED)
    on_colour = (rng.random(n) < COLOUR_SENTENCE) & (tone != MIXED) & ~vocabulary().leaf_packaged[leaf]
    sentences = pl.DataFrame(
        {
            "opener": review.openers.flat.gather(review.openers.draw(stars - 1, rng.random(n))),
            "first": review.aspects.flat.gather(first),
            "second": _where(talks_more, review.aspects.flat.gather(second)),
            "colour": _where(on_colour, review.colour.flat.gather(review.colour.draw(tone, rng.random(n)))),
            "closer": review.closers.flat.gather(review.closers.draw(stars - 1, rng.random(n))),
        }
    )
    text = pl.concat_str(pl.all(), separator=" ", ignore_nulls=True).str.strip_chars()
    return _fill(sentences.select(text=text), _product_words(catalogue, item))


def _where(condition: np.ndarray, text: pl.Series) -> pl.Series:
    return pl.select(pl.when(pl.lit(pl.Series(condition, dtype=pl.Boolean))).then(pl.lit(text))).to_series()


def _product_words(catalogue: Catalogue, item: np.ndarray) -> dict[str, pl.Series]:
    words = vocabulary()
    leaf = catalogue.leaf[item]
    plural = [leaf.get("plural", False) for leaf in words.leaves]
    by_leaf = {
        "noun": [leaf["short"] for leaf in words.leaves],
        "this": ["these" if many else "this" for many in plural],
        "it": ["them" if many else "it" for many in plural],
        "It": ["They" if many else "It" for many in plural],
    }
    return {name: pl.Series(values).gather(leaf) for name, values in by_leaf.items()} | {
        "brand": pl.Series(words.brand_names).gather(catalogue.brand[item]),
        "colour": pl.Series(words.colour_names).gather(catalogue.colour[item]),
    }


def _fill(frame: pl.DataFrame, words: dict[str, pl.Series]) -> pl.Series:
    text = pl.col("text")
    for name in words:
        text = text.str.replace_all(f"{{{name}}}", pl.col(name), literal=True)
    return frame.with_columns(**words).select(text).to_series()
