"""Robot traffic is recognised by rate and pattern, across chunks, and people are let alone."""

from datetime import UTC, datetime, timedelta

import polars as pl

from services.ingest.rules.robots import RobotConfig, RobotDetector

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(user: str, seconds: list[float], *, type: str = "view", dwell: int | None = 900) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [user] * len(seconds),
            "type": [type] * len(seconds),
            "timestamp": [START + timedelta(seconds=s) for s in seconds],
            "dwell_ms": [dwell] * len(seconds),
            "synthetic_time": [False] * len(seconds),
        },
        schema={
            "user_id": pl.String,
            "type": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "dwell_ms": pl.Int64,
            "synthetic_time": pl.Boolean,
        },
    )


def irregular(count: int, mean: float) -> list[float]:
    """Moments whose gaps alternate between a tenth and almost twice the mean."""
    gaps = [mean * (0.1 if n % 2 else 1.9) for n in range(count)]
    return [sum(gaps[:n]) for n in range(count)]


def test_more_views_in_a_minute_than_anybody_can_look_at():
    detector = RobotDetector()
    assert detector.observe(events("bot", irregular(310, 0.19))).all()
    assert detector.robots == {"bot"}


def test_a_rate_is_counted_across_chunks():
    detector = RobotDetector()
    moments = irregular(310, 0.19)
    assert not detector.observe(events("bot", moments[:200])).any()
    assert detector.observe(events("bot", moments[200:])).all()


def test_events_that_share_one_coarse_time_say_nothing_about_speed():
    assert RobotDetector().observe(events("reader", [0.0] * 1_000)).any() is False


def test_evenly_spaced_events_are_a_machines():
    assert RobotDetector().observe(events("bot", [30.0 * n for n in range(200)])).all()


def test_fewer_even_events_prove_nothing():
    assert not RobotDetector().observe(events("person", [30.0 * n for n in range(199)])).any()


def test_an_even_pattern_is_seen_across_chunks():
    detector = RobotDetector()
    detector.observe(events("bot", [30.0 * n for n in range(150)]))
    assert detector.observe(events("bot", [30.0 * n for n in range(150, 210)])).all()


def test_quick_views_without_any_dwell_are_a_machines():
    moments = irregular(200, 0.9)
    assert RobotDetector().observe(events("bot", moments, dwell=None)).all()
    assert not RobotDetector().observe(events("person", moments, dwell=800)).any()


def test_people_beside_a_robot_are_let_alone():
    mixed = pl.concat([events("bot", [30.0 * n for n in range(200)]), events("person", irregular(250, 20))])
    flagged = RobotDetector().observe(mixed)
    assert mixed.filter(flagged)["user_id"].unique().to_list() == ["bot"]


def test_ratings_given_in_one_go_are_no_traffic():
    assert not RobotDetector().observe(events("critic", irregular(900, 0.05), type="rating")).any()


def test_memory_is_bounded_to_the_users_seen_last():
    detector = RobotDetector(RobotConfig(max_users=2))
    for name in ("a", "b", "c"):
        detector.observe(events(name, [0.0, 1.0]))
    assert sorted(detector._state["user_id"]) == ["b", "c"]


def test_an_empty_chunk_is_no_news():
    assert RobotDetector().observe(events("x", [])).len() == 0
