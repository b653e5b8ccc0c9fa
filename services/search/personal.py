"""How much a user's portrait may move the results of a query."""

from dataclasses import dataclass

from services.features.portrait_view import PortraitView
from services.search.understanding import UnderstoodQuery


@dataclass(frozen=True)
class PersonalConfig:
    """`unspecific`: up to this specificity personalisation is full; `specific`: from here on there is none."""

    unspecific: float = 0.3
    specific: float = 0.7


def personal_strength(query: UnderstoodQuery, user: PortraitView | None, config: PersonalConfig | None = None) -> float:
    """0 (the same for everybody) to 1: falls with the query's specificity, and with a portrait of little confidence.

    A model number says itself what is wanted; "lamp" leaves it to taste.
    """
    config = PersonalConfig() if config is None else config
    if user is None or any(word.kind == "model" for word in query.words):
        return 0.0
    open_part = (config.specific - query.specificity) / (config.specific - config.unspecific)
    return min(max(open_part, 0.0), 1.0) * user.confidence
