"""How simulated shoppers behave: typed views of data/behaviour.toml."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from services.simulation.chance import sigmoid
from services.simulation.vocabulary import read_table


@dataclass(frozen=True)
class Logit:
    """A probability that rises (or falls) with hidden utility: σ(base + slope · utility + intent · looking-for-it)."""

    base: float
    slope: float
    intent: float = 0.0

    def probability(self, utility: np.ndarray, intent: np.ndarray | float = 0.0) -> np.ndarray:
        return sigmoid(self.base + self.slope * utility + self.intent * intent)


@dataclass(frozen=True)
class UtilityWeights:
    category: float
    sibling: float
    brand: float
    style: float
    colour: float
    price: float
    quality: float
    intent: float


@dataclass(frozen=True)
class ViewHabits:
    dwell_base: float
    dwell_slope: float
    dwell_noise: float
    dwell_max_seconds: float
    depth_base: float
    depth_slope: float
    depth_noise: float


@dataclass(frozen=True)
class RatingHabits:
    share: float
    review_share: float
    base: float
    slope: float
    leniency: float
    noise: float


@dataclass(frozen=True)
class SessionHabits:
    mean_pages: float
    follow_intent: float
    misspelt: float
    query_brand: float
    query_colour: float
    hot_items: int
    hot_share: float
    taste_share: float
    first_surface: list[float]
    later_surface: list[float]
    intent_surface: list[float]
    hours: list[float]
    events_per_visit: float


@dataclass(frozen=True)
class UserHabits:
    activity_spread: float
    cold_share: float
    one_visit_share: float
    new_share: float
    lapsed_share: float
    liked_categories: list[int]
    liked_brands: list[int]
    liked_colours: list[int]
    price_spread: float
    days_per_intent: float
    intent_days: list[float]
    intent_from_taste: float


@dataclass(frozen=True)
class Behaviour:
    utility: UtilityWeights
    click: Logit
    cart: Logit
    favourite: Logit
    hide: Logit
    purchase: Logit
    discounted: float
    quantity_more: float
    view: ViewHabits
    rating: RatingHabits
    session: SessionHabits
    users: UserHabits


@cache
def behaviour() -> Behaviour:
    """The behaviour of the data file, read once a process."""
    table = read_table("behaviour.toml")
    purchase = dict(table["purchase"])
    discounted, quantity_more = purchase.pop("discounted"), purchase.pop("quantity_more")
    return Behaviour(
        utility=UtilityWeights(**table["utility"]),
        click=Logit(**table["click"]),
        cart=Logit(**table["cart"]),
        favourite=Logit(**table["favourite"]),
        hide=Logit(**table["hide"]),
        purchase=Logit(**purchase),
        discounted=discounted,
        quantity_more=quantity_more,
        view=ViewHabits(**table["view"]),
        rating=RatingHabits(**table["rating"]),
        session=SessionHabits(**table["session"]),
        users=UserHabits(**table["users"]),
    )
