"""How often and when users visit: heavy-tailed activity, joining and lapsing, and the rhythm of the day."""

from dataclasses import dataclass

import numpy as np

from services.simulation.chance import draw_cdf, row_cdf
from services.simulation.config import DAY, MICROSECONDS, ShopConfig
from services.simulation.intents import Intents
from services.simulation.parameters import SessionHabits, UserHabits, behaviour

HOUR = 3_600 * MICROSECONDS
LATEST_START = 5 * 60 * MICROSECONDS  # before the end: the last visits are still under way then
APART = 90 * 60 * MICROSECONDS
MOST_VISITS_A_DAY = 3


@dataclass(frozen=True)
class Visits:
    """Arrays [visits], ordered by user (row of the block), then time; `intent` is a slot of Intents or -1."""

    user: np.ndarray
    start_us: np.ndarray
    intent: np.ndarray

    def __len__(self) -> int:
        return len(self.user)


def draw_visits(config: ShopConfig, intents: Intents, rng: np.random.Generator) -> Visits:
    """The visits of one block of users. Cold users have none, or one."""
    habits, session = behaviour().users, behaviour().session
    n = len(intents.leaf)
    join_us, leave_us = _membership(config, habits, rng, n)
    count = _visit_counts(config, habits, session, rng, leave_us - join_us)
    user = np.repeat(np.arange(n), count)
    span = np.maximum(leave_us - join_us, 1)[user]
    moment = join_us[user] + (rng.random(len(user)) * span).astype(np.int64)
    start = _at_a_likely_hour(moment, session.hours, rng)
    start = np.where((start < join_us[user]) | (start > config.end_us - LATEST_START), moment, start)
    start = np.minimum(start, config.end_us - LATEST_START)
    start = _kept_apart(user, start[np.lexsort((start, user))])
    slot = intents.active(user, start)
    follows = (slot >= 0) & (rng.random(len(user)) < session.follow_intent)
    return Visits(user, start, np.where(follows, slot, -1))


def _membership(
    config: ShopConfig, habits: UserHabits, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """When each user joins and leaves, in microseconds; most are there all the time."""
    join = np.where(rng.random(n) < habits.new_share, rng.random(n), 0.0)
    leave = np.where(rng.random(n) < habits.lapsed_share, join + (1.0 - join) * rng.random(n), 1.0)
    window = config.days * DAY
    return config.begin_us + (join * window).astype(np.int64), config.begin_us + (leave * window).astype(np.int64)


def _visit_counts(
    config: ShopConfig, habits: UserHabits, session: SessionHabits, rng: np.random.Generator, span_us: np.ndarray
) -> np.ndarray:
    n = len(span_us)
    spread = habits.activity_spread
    activity = np.exp(spread * rng.normal(size=n) - spread**2 / 2)
    count = rng.poisson(activity * config.events_per_user / session.events_per_visit)
    count = np.minimum(np.maximum(count, 1), MOST_VISITS_A_DAY * (span_us // DAY + 1))
    luck = rng.random(n)
    count = np.where(luck < habits.cold_share + habits.one_visit_share, np.minimum(count, 1), count)
    return np.where(luck < habits.cold_share, 0, count)


def _at_a_likely_hour(moment_us: np.ndarray, hours: list[float], rng: np.random.Generator) -> np.ndarray:
    hour = draw_cdf(row_cdf(np.array([hours]))[0], rng.random(len(moment_us)))
    return moment_us // DAY * DAY + hour * HOUR + (rng.random(len(moment_us)) * HOUR).astype(np.int64)


def _kept_apart(user: np.ndarray, start_us: np.ndarray) -> np.ndarray:
    """Moves visits of a user earlier where needed, so that two never overlap. Sorted by user, then time."""
    if not len(user):
        return start_us
    order = np.arange(len(user), dtype=np.int64)
    far = np.int64(2**52)  # more than any window: keeps one user's running minimum out of another's
    shifted = start_us - start_us.min() - APART * order + far * user
    return np.minimum.accumulate(shifted[::-1])[::-1] + APART * order - far * user + start_us.min()
