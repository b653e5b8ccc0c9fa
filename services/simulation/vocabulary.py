"""The shop's words and tables, read from the data files beside the code."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import polars as pl

COLLECTED_KINDS = ("clothing", "footwear", "accessory", "textile", "toy")


def read_table(name: str) -> dict:
    """The contents of one data file of the simulation."""
    return tomllib.loads(files("services.simulation").joinpath("data", name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Choices:
    """Lists of different lengths laid end to end: `flat[start[i] : start[i] + count[i]]` belongs to owner *i*."""

    flat: pl.Series
    start: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[str | int]]) -> "Choices":
        count = np.array([len(entry) for entry in lists])
        return cls(pl.Series([value for entry in lists for value in entry]), np.cumsum(count) - count, count)

    def draw(self, owner: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Positions in `flat`, one uniform choice for each entry of `owner`."""
        return self.start[owner] + np.minimum((uniform * self.count[owner]).astype(np.int64), self.count[owner] - 1)


@dataclass(frozen=True)
class Vocabulary:
    """Names and per-leaf tables; arrays are indexed by leaf, brand, colour or style number."""

    leaves: list[dict]
    leaf_names: list[str]
    department_names: list[str]
    leaf_department: np.ndarray
    shelf_starts: np.ndarray  # first leaf of each second-level category: its leaves stand together
    leaf_shelf: np.ndarray
    leaf_price: np.ndarray
    leaf_weight: np.ndarray
    leaf_consumable: np.ndarray
    leaf_collected: np.ndarray  # nobody has only one jumper; one kettle is enough
    leaf_packaged: np.ndarray  # the colour is on the packaging only
    leaf_sized_title: np.ndarray
    leaf_graded: np.ndarray
    nouns: Choices
    materials: Choices
    sizes: Choices
    palettes: Choices
    leaf_has_colour: np.ndarray  # bool [leaf, colour]: made in that colour, and texts say so
    details: Choices
    uses: Choices
    queries: Choices
    brand_names: list[str]
    brand_tier: np.ndarray
    brand_style: np.ndarray
    brand_in_department: np.ndarray  # bool [department, brand]
    colour_names: list[str]
    colour_rgb: np.ndarray  # uint8 [colour, 3]
    style_names: list[str]
    style_sentences: Choices
    style_background: np.ndarray  # uint8 [style, 3]
    lines: pl.Series


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of the data files, read once a process."""
    leaves = read_table("categories.toml")["leaf"]
    departments = list(dict.fromkeys(leaf["path"][0] for leaf in leaves))
    shelves = [tuple(leaf["path"][:2]) for leaf in leaves]
    shelf_order = list(dict.fromkeys(shelves))
    return Vocabulary(
        leaves=leaves,
        leaf_names=[leaf["path"][2] for leaf in leaves],
        department_names=departments,
        leaf_department=np.array([departments.index(leaf["path"][0]) for leaf in leaves]),
        shelf_starts=np.array([shelves.index(shelf) for shelf in shelf_order]),
        leaf_shelf=np.array([shelf_order.index(shelf) for shelf in shelves]),
        leaf_price=np.array([float(leaf["price"]) for leaf in leaves]),
        leaf_weight=np.array([leaf["weight"] for leaf in leaves]),
        leaf_consumable=np.array([leaf.get("consumable", False) for leaf in leaves]),
        leaf_collected=np.array([leaf["kind"] in COLLECTED_KINDS for leaf in leaves]),
        nouns=Choices.of([leaf["nouns"] for leaf in leaves]),
        materials=Choices.of([leaf["materials"] for leaf in leaves]),
        details=Choices.of([leaf["details"] for leaf in leaves]),
        uses=Choices.of([leaf["uses"] for leaf in leaves]),
        queries=Choices.of([leaf["query"] for leaf in leaves]),
        **_sizes(leaves),
        **_colours(leaves),
        **_brands_and_styles(departments),
        lines=pl.Series(read_table("lines.toml")["names"]),
    )


def _sizes(leaves: list[dict]) -> dict:
    table = read_table("sizes.toml")
    groups = [leaf["sizes"] for leaf in leaves]
    return {
        "sizes": Choices.of([table["sizes"][group] for group in groups]),
        "leaf_graded": np.array([group in table["graded"] for group in groups]),
        "leaf_sized_title": np.array([group not in table["unnamed"] for group in groups]),
    }


def _colours(leaves: list[dict]) -> dict:
    table = read_table("colours.toml")
    names = list(table["rgb"])
    packaged = np.array([leaf["palette"] == "pack" or leaf.get("packaged", False) for leaf in leaves])
    palettes = [[names.index(colour) for colour in table["palettes"][leaf["palette"]]] for leaf in leaves]
    return {
        "colour_names": names,
        "colour_rgb": np.array([_rgb(value) for value in table["rgb"].values()], dtype=np.uint8),
        "palettes": Choices.of(palettes),
        "leaf_packaged": packaged,
        "leaf_has_colour": np.array([np.isin(np.arange(len(names)), own) for own in palettes]) & ~packaged[:, None],
    }


def _brands_and_styles(departments: list[str]) -> dict:
    brands = read_table("brands.toml")["brand"]
    styles = read_table("styles.toml")["style"]
    style_names = [style["name"] for style in styles]
    return {
        "brand_names": [brand[0] for brand in brands],
        "brand_tier": np.array([brand[1] for brand in brands]),
        "brand_style": np.array([style_names.index(brand[2]) for brand in brands]),
        "brand_in_department": np.array([[d in brand[3] for brand in brands] for d in departments]),
        "style_names": style_names,
        "style_sentences": Choices.of([style["sentences"] for style in styles]),
        "style_background": np.array([_rgb(style["background"]) for style in styles], dtype=np.uint8),
    }


def _rgb(text: str) -> list[int]:
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]
