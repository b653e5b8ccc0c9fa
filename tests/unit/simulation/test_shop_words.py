"""The data files fit together, and the texts and pictures made from them are whole."""

from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from services.core.errors import NotFound
from services.simulation.pictures import picture
from services.simulation.queries import misspelt
from services.simulation.reviews import review_words, write_reviews
from services.simulation.shapes import FIXED_PAINTS, shapes
from services.simulation.shop import SimulatedShop
from services.simulation.vocabulary import vocabulary


def test_categories_are_three_deep_uniquely_named_and_stand_together_by_shelf() -> None:
    words = vocabulary()
    assert {len(leaf["path"]) for leaf in words.leaves} == {3}
    assert len(set(words.leaf_names)) == len(words.leaves) >= 80
    assert len(words.department_names) == 10
    assert (np.diff(words.leaf_shelf) >= 0).all()


def test_every_department_has_brands_of_several_price_tiers() -> None:
    words = vocabulary()
    for row in words.brand_in_department:
        assert len(set(words.brand_tier[row])) >= 3


def test_every_category_has_a_drawing_in_known_paints() -> None:
    drawn = shapes()
    assert {leaf["shape"] for leaf in vocabulary().leaves} == set(drawn)
    paints = {primitive.paint for drawing in drawn.values() for primitive in drawing}
    assert paints <= set(FIXED_PAINTS) | {"body", "dark", "light", "accent"}


def test_pictures_are_small_square_jpegs_in_the_products_colour(shop: SimulatedShop) -> None:
    words, catalogue = vocabulary(), shop.catalogue
    jumpers = np.flatnonzero(catalogue.leaf == words.leaf_names.index("Women's jumpers"))
    for item in jumpers[:5].tolist():
        jpeg = picture(shop.config.seed, catalogue, item)
        image = Image.open(BytesIO(jpeg))
        assert (image.format, image.size) == ("JPEG", (160, 160))
        assert len(jpeg) <= 8_192
        middle = np.asarray(image)[75:85, 75:85].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(middle, words.colour_rgb[catalogue.colour[item]], atol=12)


def test_pictures_lie_where_the_items_image_urls_point(
    shop: SimulatedShop, items: pl.DataFrame, tmp_path: Path
) -> None:
    chosen = items.head(3)
    assert shop.draw_pictures(tmp_path, chosen["item_id"].to_list()) == 3
    assert all((tmp_path / urls[0].removeprefix("file:")).is_file() for urls in chosen["image_urls"])


def test_a_picture_of_an_unknown_item_is_refused(shop: SimulatedShop, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no item 'p9999999'"):
        shop.draw_pictures(tmp_path, ["p9999999"])


def test_titles_name_the_colour_only_where_the_product_has_one(items: pl.DataFrame) -> None:
    colour = items["attributes"].str.json_path_match("$.colour")
    named = items.select(pl.col("title").str.contains(colour, literal=True)).to_series()
    assert named.filter(colour.is_not_null()).all()
    coffee = items.filter(pl.col("categories").list.last() == "Coffee beans")
    assert coffee["attributes"].str.json_path_match("$.colour").null_count() == len(coffee) > 0


def test_prices_follow_the_tier_of_the_brand(shop: SimulatedShop, items: pl.DataFrame) -> None:
    words = vocabulary()
    tier = pl.Series(words.brand_tier[shop.catalogue.brand])
    level = pl.DataFrame({"tier": tier, "ratio": items["price"] / words.leaf_price[shop.catalogue.leaf]})
    typical = level.group_by("tier").median().sort("tier")["ratio"]
    assert typical.is_sorted()
    assert typical[3] > 3 * typical[0]


def test_reviews_speak_in_the_tone_of_their_stars_and_agree_in_number(shop: SimulatedShop) -> None:
    words = vocabulary()
    jeans = int(np.flatnonzero(shop.catalogue.leaf == words.leaf_names.index("Women's jeans"))[0])
    for stars in (1, 3, 5):
        texts = write_reviews(shop.catalogue, np.full(300, jeans), np.full(300, stars), np.random.default_rng(stars))
        opener = review_words().openers
        allowed = [
            text.split("{")[0]
            for text in opener.flat[opener.start[stars - 1] : opener.start[stars - 1] + opener.count[stars - 1]]
        ]
        assert all(text.startswith(tuple(allowed)) for text in texts)
        assert texts.n_unique() > 30
        assert not texts.str.contains(r"[{}]|this jeans").any()


@pytest.mark.parametrize(("way", "slip"), [(0, "ktetle"), (1, "kette"), (2, "ketttle")])
def test_misspellings_are_single_slips(way: int, slip: str) -> None:
    made = misspelt("kettle", way)
    assert made != "kettle"
    assert abs(len(made) - 6) == (way > 0)


def test_short_words_are_not_misspelt() -> None:
    assert misspelt("mug", 1) == "mug"
