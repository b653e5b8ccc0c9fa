"""How fresh portraits must be on each surface of the shop, and what is shown there when they are not."""

from collections.abc import Mapping

import msgspec

from services.core.settings import SurfaceBudget
from services.features.portrait import Portrait, cold_portrait
from services.recommend.request import RecommendationRequest
from services.serve.answers import Fallback
from services.serve.live import Live


def fallback_of(budget: SurfaceBudget | None, live: Live) -> Fallback | None:
    """The declared ranking, where the portrait may lack events that are older than the budget allows."""
    if budget is None:
        return None
    if live.degraded:
        reason = live.status.value
    elif live.lag_s * 1000 <= budget.max_profile_lag_ms:
        return None
    else:
        reason = "tail-lag" if live.tails else "no-tail"
    return Fallback(reason, budget.fallback)  # type: ignore[arg-type]  # one of the reasons, by Live's own rule


class Surfaces:
    """The budgets of one shop."""

    def __init__(self, budgets: Mapping[str, SurfaceBudget]) -> None:
        self._budgets = budgets

    def fallback(self, surface: str | None, live: Live) -> Fallback | None:
        """As `fallback_of`, by the surface's name."""
        return fallback_of(self._budgets.get(surface), live) if surface is not None else None


def replaced(
    fallback: Fallback, portrait: Portrait, request: RecommendationRequest, now: float
) -> tuple[Portrait, RecommendationRequest]:
    """Whom the list is made for, and what is asked, under a fallback.

    What the portrait knows to be bought or hidden stays out of every list: that does not age.
    """
    if fallback.ranking == "stale":
        return portrait, request
    nobody = msgspec.structs.replace(
        cold_portrait(portrait.user_id, now), bought=portrait.bought, hidden=portrait.hidden
    )
    if fallback.ranking == "recent_events":
        return nobody, request
    return nobody, msgspec.structs.replace(request, recent_events=())
