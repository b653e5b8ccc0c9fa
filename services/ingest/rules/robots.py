"""Robot traffic in a file of events: rates and patterns that no person produces.

The thresholds are conservative: a robot that passes costs a little noise, a person who is dropped loses a portrait.
"""

from dataclasses import dataclass

import polars as pl

from services.core.columns import TIMESTAMP, TYPE, USER_ID
from services.core.types import EventType

BROWSING = tuple(str(t) for t in (EventType.VIEW, EventType.CLICK, EventType.SEARCH, EventType.CART))
"""What is judged. Ratings and reviews are often written in one go, impressions come a page at a time."""

STATE = {
    USER_ID: pl.String,
    "chunk": pl.Int64,
    "last": pl.Int64,
    "minute": pl.Int64,
    "in_minute": pl.Int64,
    "moments": pl.Int64,
    "events": pl.Int64,
    "human": pl.Int64,
    "intervals": pl.Int64,
    "seconds": pl.Float64,
    "squares": pl.Float64,
}


@dataclass(frozen=True)
class RobotConfig:
    """When a user counts as a robot.

    Rate: more than `per_minute` browsing events within a clock minute, at no fewer than `moments` different times
    (events that share one coarse time say nothing about speed).
    Pattern: at least `pattern_events` browsing events that are evenly spaced (standard deviation below `evenness` of a
    mean interval of at most `even_interval_s`), or that are views without any dwell time `machine_interval_s` apart or
    less on average. `max_users` bounds the memory: those not seen for longest are forgotten.
    """

    per_minute: int = 300
    moments: int = 20
    pattern_events: int = 200
    evenness: float = 0.05
    even_interval_s: float = 60.0
    machine_interval_s: float = 1.0
    max_users: int = 200_000


class RobotDetector:
    """Looks at chunks of a file in order and remembers, in bounded memory, what each user did so far."""

    def __init__(self, config: RobotConfig | None = None) -> None:
        self.config = config or RobotConfig()
        self.robots: set[str] = set()
        self._state = pl.DataFrame(schema=STATE)
        self._chunk = 0

    def observe(self, events: pl.DataFrame) -> pl.Series:
        """Whether each row is a robot's, as far as is known after this chunk (booleans)."""
        self._chunk += 1
        browsing = events.lazy().filter(pl.col(TYPE).is_in(BROWSING) & ~pl.col("synthetic_time"))
        browsing = browsing.select(USER_ID, TYPE, "dwell_ms", time=pl.col(TIMESTAMP).dt.epoch("us"))
        summary = self._summarise(browsing.collect())
        if summary.height:
            self.robots.update(summary.filter(self._is_robot())[USER_ID])
            self._remember(summary)
        return events[USER_ID].is_in(list(self.robots)) if self.robots else pl.repeat(False, events.height, eager=True)

    def _summarise(self, browsing: pl.DataFrame) -> pl.DataFrame:
        """What is known of each user of the chunk: this chunk's figures added to the remembered ones."""
        before = self._state
        rows = browsing.sort(USER_ID, "time").join(before.select(USER_ID, "last"), on=USER_ID, how="left")
        rows = rows.sort(USER_ID, "time").with_columns(
            previous=pl.col("time").shift(1).over(USER_ID).fill_null(pl.col("last")),
            minute=pl.col("time") // 60_000_000,
        )
        interval = (pl.col("time") - pl.col("previous")).cast(pl.Float64) / 1e6
        rows = rows.with_columns(interval=pl.when(interval >= 0).then(interval))
        minutes = rows.group_by(USER_ID, "minute").agg(in_minute=pl.len(), moments=pl.col("time").n_unique())
        minutes = minutes.join(
            before.select(USER_ID, "minute", "in_minute", "moments"), on=[USER_ID, "minute"], how="left"
        )
        minutes = minutes.select(
            USER_ID,
            "minute",
            in_minute=pl.col("in_minute").cast(pl.Int64) + pl.col("in_minute_right").fill_null(0),
            moments=pl.col("moments").cast(pl.Int64) + pl.col("moments_right").fill_null(0),
        )
        busiest = minutes.group_by(USER_ID).agg(
            pl.col("in_minute").filter(pl.col("moments") >= self.config.moments).max().fill_null(0).alias("busiest"),
            pl.col("minute", "in_minute", "moments").sort_by("minute").last(),
        )
        human = (pl.col(TYPE) != EventType.VIEW) | pl.col("dwell_ms").is_not_null()
        users = rows.group_by(USER_ID).agg(
            last=pl.col("time").max(),
            events=pl.len().cast(pl.Int64),
            human=human.sum().cast(pl.Int64),
            intervals=pl.col("interval").count().cast(pl.Int64),
            seconds=pl.col("interval").sum(),
            squares=(pl.col("interval") ** 2).sum(),
        )
        sums = ["events", "human", "intervals", "seconds", "squares"]
        users = users.join(before.select(USER_ID, *sums), on=USER_ID, how="left").with_columns(
            pl.col(name) + pl.col(f"{name}_right").fill_null(0) for name in sums
        )
        return users.join(busiest, on=USER_ID).with_columns(pl.lit(self._chunk, pl.Int64).alias("chunk"))

    def _is_robot(self) -> pl.Expr:
        c = self.config
        mean = pl.col("seconds") / pl.col("intervals")
        deviation = (pl.col("squares") / pl.col("intervals") - mean**2).clip(0).sqrt()
        many = pl.col("events") >= c.pattern_events
        even = (mean > 0) & (mean <= c.even_interval_s) & (deviation < c.evenness * mean)
        machine = (pl.col("human") == 0) & (mean > 0) & (mean <= c.machine_interval_s)
        return (pl.col("busiest") > c.per_minute) | (many & (even | machine).fill_null(False))

    def _remember(self, summary: pl.DataFrame) -> None:
        seen = summary.select(list(STATE))
        others = self._state.join(seen, on=USER_ID, how="anti")
        state = pl.concat([others, seen])
        if state.height > self.config.max_users:
            state = state.sort("chunk").tail(self.config.max_users)
        self._state = state
