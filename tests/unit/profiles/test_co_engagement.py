from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from services.profiles.co_engagement import CoEngagement, CoEngagementConfig, co_engagement_pairs
from services.profiles.reference import ReferenceStatistics

START = datetime(2026, 1, 1, tzinfo=UTC)
REFERENCE = ReferenceStatistics.defaults()
PLAIN = CoEngagementConfig(window=3, distance_decay=0, backward=0, item_exponent=0, neighbour_exponent=0, shrinkage=0)


def bought(**sequences: str) -> pa.Table:
    """Each user's items as letters, one purchase a minute."""
    return events(*((user, item, "purchase") for user, items in sequences.items() for item in items))


def events(*rows: tuple[str, str | None, str]) -> pa.Table:
    times = [START + timedelta(minutes=n) for n in range(len(rows))]
    return pa.table(
        {
            "user_id": [row[0] for row in rows],
            "item_id": pa.array([row[1] for row in rows], pa.string()),
            "type": [row[2] for row in rows],
            "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )


def scores(table: pa.Table) -> dict[str, float]:
    return {row["item_id"] + row["neighbour_id"]: pytest.approx(row["score"]) for row in table.to_pylist()}


def pairs(table: pa.Table, config: CoEngagementConfig, items: str = "abcdef") -> dict[str, float]:
    return scores(co_engagement_pairs([table], list(items), REFERENCE, config))


def test_what_follows_within_the_window_is_a_neighbour():
    assert pairs(bought(u="abcde"), PLAIN) == {
        pair: 1.0 for pair in ("ab", "ac", "ad", "bc", "bd", "be", "cd", "ce", "de")
    }


def test_users_do_not_run_into_one_another():
    assert pairs(bought(u="ab", v="cd"), PLAIN) == {"ab": 1.0, "cd": 1.0}


def test_farther_items_and_the_way_back_count_less():
    config = CoEngagementConfig(
        window=2, distance_decay=1, backward=0.5, item_exponent=0, neighbour_exponent=0, shrinkage=0
    )
    expected = {"ab": 1.0, "bc": 1.0, "ac": 0.5, "ba": 0.5, "cb": 0.5, "ca": 0.25}
    assert pairs(bought(u="abc"), config) == expected


def test_popular_items_are_damped_by_their_degree():
    config = CoEngagementConfig(
        window=1, distance_decay=0, backward=1, item_exponent=0.5, neighbour_exponent=0.5, shrinkage=0
    )
    # Degrees: a 2, b 1, c 4, d 2; "ab" 1/sqrt(2), "ac" 1/sqrt(8), "cd" 2/sqrt(8) is the same as "ab".
    found = pairs(bought(u="ab", v="ac", w="dc", x="cd", y="c"), config)
    assert found["ac"] == 0.5 * 2**0.5 / 2**0.5
    assert found["ab"] == found["cd"] == 1.0


def test_a_pair_seen_once_is_shrunk_below_one_seen_often():
    often = bought(u="ab", v="ab", w="ab", x="cd")
    cosine = CoEngagementConfig(window=1, item_exponent=0.5, neighbour_exponent=0.5, shrinkage=0)
    shrunk = CoEngagementConfig(window=1, item_exponent=0.5, neighbour_exponent=0.5, shrinkage=3)
    assert pairs(often, cosine)["cd"] == 1.0
    assert pairs(often, shrunk)["cd"] == (1 / 4) / (3 / 6)


def test_repeated_events_on_an_item_are_one_and_the_strongest_counts():
    weight = REFERENCE.importance_of("view")
    seen = events(("u", "a", "view"), ("u", "a", "purchase"), ("u", "b", "view"), ("u", "b", "hide"))
    found = pairs(pa.concat_tables([seen, bought(v="cd")]), PLAIN)
    assert found == {"ab": weight**0.5, "cd": 1.0}


def test_events_are_ordered_by_time_whatever_their_order_in_the_table():
    table = bought(u="abc")
    assert pairs(table.take([2, 0, 1]), PLAIN) == pairs(table, PLAIN)


def test_items_outside_the_catalogue_and_searches_take_no_part():
    mixed = events(("u", "a", "purchase"), ("u", "z", "purchase"), ("u", None, "search"), ("u", "b", "click"))
    assert pairs(mixed, PLAIN) == {"ab": 1.0}


def test_only_the_latest_items_of_an_endless_history_count():
    config = CoEngagementConfig(window=1, backward=0, sequence_cap=2)
    assert set(pairs(bought(u="abcdef"), config)) == {"ef"}


def test_only_the_strongest_neighbours_are_kept_best_first():
    config = CoEngagementConfig(window=1, backward=0, neighbours=2, item_exponent=0, neighbour_exponent=0, shrinkage=0)
    table = co_engagement_pairs(
        [bought(u="ab", v="ab", w="ab", x="ac", y="ac", z="ad")], list("abcd"), REFERENCE, config
    )
    assert table.to_pydict() == {
        "item_id": ["a", "a"],
        "neighbour_id": ["b", "c"],
        "score": pytest.approx([1.0, 2 / 3]),
    }


def test_chunks_of_users_add_up_to_one_pass():
    first, second = bought(u="abca", v="bd"), bought(w="dcab")
    chunked = co_engagement_pairs([first, second], list("abcd"), REFERENCE)
    assert scores(chunked) == scores(co_engagement_pairs([pa.concat_tables([first, second])], list("abcd"), REFERENCE))


def test_memory_is_bounded_by_dropping_the_weakest_pairs():
    sums = CoEngagement(list("abcdef"), REFERENCE, CoEngagementConfig(window=1, backward=0, neighbours=1, max_pairs=4))
    sums.add(bought(u="ab", v="ab", w="ac", x="ad", y="ae", z="af"))
    assert sums._pairs.nnz == 4
    assert scores(sums.pairs()) == {"ab": 1.0}


def test_no_events_give_no_pairs():
    assert len(co_engagement_pairs([bought()], list("ab"), REFERENCE)) == 0
    assert len(co_engagement_pairs([], [], REFERENCE)) == 0
