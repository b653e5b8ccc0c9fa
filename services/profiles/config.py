"""The constants of the profile formulas, in one frozen object; docs/profiles.md explains each."""

from dataclasses import dataclass

DAY = 86_400.0


@dataclass(frozen=True)
class ProfileConfig:
    """Half-lives and spans in seconds; weights and evidence in units of one purchase.

    The defaults hold for any shop; what depends on the shop's data is in `reference.ReferenceStatistics`.
    """

    long_half_life: float = 60 * DAY
    short_half_life: float = 1 * DAY

    max_debias: float = 10.0
    rating_prior_mean: float = 4.0
    rating_prior_count: float = 3.0

    max_interests: int = 5
    interest_items: int = 64
    interest_min_gain: float = 0.06
    name_share: float = 0.5
    brand_share: float = 0.6

    max_affinities: int = 20
    min_affinity: float = 0.005
    smoothing: float = 1.0
    price_prior_deviation: float = 0.4
    price_prior_weight: float = 0.5

    recent_items: int = 50
    listed_items: int = 1_000

    confidence_scale: float = 4.0

    rhythm_prior: float = 7 * DAY
    new_days: int = 3
    cooling_after: float = 7 * DAY
    cooling_gaps: float = 3.0
    dormant_after: float = 30 * DAY
    dormant_gaps: float = 8.0
    dormant_at_most: float = 365 * DAY

    neighbours: int = 20
    neighbours_asked: int = 50
    neighbour_items: int = 60
    pool_users: int = 25_000
    pool_items: int = 50

    users_per_chunk: int = 4_096
    events_per_chunk: int = 250_000
    retention: float = 30 * DAY
