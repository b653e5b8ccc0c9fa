from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hand_split import split_of

from services.core.errors import InvalidInput
from training.event_log import make_event_log
from training.sequences import tokens_of
from training.splits import Split, by_time, hold_out_last, leave_one_out, only_cold_items

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(*rows: tuple[str, str, str, int], synthetic: bool = False) -> pa.Table:
    """Rows of (user, item, type, minute)."""
    return pa.table(
        {
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "type": [row[2] for row in rows],
            "timestamp": pa.array([START + timedelta(minutes=row[3]) for row in rows], pa.timestamp("us", "UTC")),
            "synthetic_time": [synthetic] * len(rows),
        }
    )


def bought(**sequences: str) -> pa.Table:
    return events(*((user, item, "purchase", n) for user, items in sequences.items() for n, item in enumerate(items)))


def held(split, mask) -> dict[str, str]:
    log = split.log
    users, items = log.user_ids.to_pylist(), log.item_ids.to_pylist()
    found = dict.fromkeys(users, "")
    for user, item in zip(log.user[mask], log.item[mask], strict=True):
        found[users[user]] += items[item]
    return found


def targets(split) -> dict[str, str]:
    mask = np.zeros(len(split.log.user), bool)
    mask[split.targets] = True
    return {user: items for user, items in held(split, mask).items() if items}


def test_the_last_item_tests_and_the_one_before_validates():
    pair = leave_one_out(make_event_log(bought(u="abcd", v="bd")))
    assert targets(pair.validation) == {"u": "c"}
    assert targets(pair.test) == {"u": "d"}
    assert held(pair.validation, pair.validation.fit) == {"u": "ab", "v": "bd"}
    assert held(pair.test, pair.test.fit) == {"u": "abc", "v": "bd"}
    assert held(pair.test_unrefitted, pair.test_unrefitted.fit) == {"u": "ab", "v": "bd"}
    assert held(pair.test_unrefitted, pair.test_unrefitted.history) == {"u": "abc", "v": "bd"}


def test_what_a_user_does_after_the_target_is_unknown():
    log = make_event_log(
        events(("u", "a", "purchase", 0), ("u", "b", "purchase", 1), ("u", "c", "view", 2), ("u", "c", "purchase", 3),
               ("u", "c", "rating", 4), ("u", "d", "view", 5))
    )  # fmt: skip
    test = leave_one_out(log).test
    assert targets(test) == {"u": "c"}
    assert held(test, test.history) == {"u": "ab"}
    assert test.seen.toarray().tolist() == [[1, 1, 0, 0]]


def test_purchases_are_predicted_where_there_are_any():
    rows = [("u", item, kind, n) for n, (item, kind) in enumerate([("a", "view"), ("a", "purchase"), ("b", "view")])]
    log = make_event_log(events(*rows))
    assert log.target_type == "purchase"
    assert log.target.tolist() == [False, True, False]
    assert make_event_log(events(*rows), target_types=["view"]).target.tolist() == [True, False, True]


def test_items_outside_the_catalogue_are_left_out_and_its_order_is_kept():
    log = make_event_log(bought(u="azb"), item_ids=["b", "a", "c"])
    assert log.item.tolist() == [1, 0]
    assert log.item_ids.to_pylist() == ["b", "a", "c"]


def test_events_that_fit_no_item_say_what_to_check():
    with pytest.raises(InvalidInput, match="items alike"):
        make_event_log(bought(u="abc"), item_ids=["x"])


def test_leave_one_out_needs_three_events_of_somebody():
    with pytest.raises(InvalidInput, match="at least three"):
        leave_one_out(make_event_log(bought(u="ab")))


def test_a_time_split_predicts_new_items_after_the_cut():
    rows = [("u", item, "purchase", n) for n, item in enumerate("abcdefgh")]
    rows += [("v", "a", "purchase", 0), ("v", "a", "purchase", 9), ("v", "b", "purchase", 9)]
    split = by_time(make_event_log(events(*rows)), share=0.2)
    assert targets(split.test) == {"u": "h", "v": "b"}
    assert held(split.test, split.test.history) == {"u": "abcdefg", "v": "a"}
    assert targets(split.validation) == {"u": "fg"}
    assert held(split.validation, split.validation.fit) == {"u": "abcde", "v": "a"}


def test_order_without_times_cannot_be_split_by_time():
    with pytest.raises(InvalidInput, match="leave-one-out"):
        by_time(make_event_log(events(("u", "a", "purchase", 0), synthetic=True)))


def test_recency_weighs_the_latest_distinct_items_most():
    test = leave_one_out(make_event_log(bought(u="abacde", v="bd"))).test
    weights = test.recency(0.5).toarray()
    # u: a b a c d before the target e; latest first: d c a b.
    assert weights[0].tolist() == [0.25, 0.125, 0.5, 1.0, 0.0]
    assert weights[1].tolist() == [0.0, 0.5, 0.0, 1.0, 0.0]


def test_items_that_were_only_shown_or_hidden_are_no_history():
    rows = [("u", "a", "purchase", 0), ("u", "b", "purchase", 1), ("u", "d", "impression", 2), ("u", "e", "hide", 3)]
    test = leave_one_out(make_event_log(events(*rows, ("u", "c", "impression", 4), ("u", "c", "purchase", 5)))).test
    assert targets(test) == {"u": "c"}
    assert test.recency(0.5).toarray().tolist() == [[0.5, 1.0, 0.0, 0.0, 0.0]]


def test_recency_with_decay_zero_is_the_last_item_and_the_limit_holds():
    test = leave_one_out(make_event_log(bought(u="abcde"))).test
    assert test.recency(0.0).toarray().tolist() == [[0, 0, 0, 1, 0]]
    assert np.count_nonzero(test.recency(0.9, limit=2).toarray()) == 2


def test_an_event_logs_rows_are_in_order_of_user_and_time():
    log = make_event_log(events(("v", "a", "purchase", 1), ("u", "b", "purchase", 2), ("u", "a", "purchase", 1)))
    assert log.user_ids.to_pylist() == ["u", "v"]
    assert (log.user.tolist(), log.item.tolist()) == ([0, 0, 1], [0, 1, 0])


def test_cold_items_are_in_nothing_known_and_alone_are_asked_for():
    split = split_of(**{f"u{n}": "abcde"[n % 5 :] + "abcde"[: n % 5] for n in range(10)})
    cold = only_cold_items(split, 0.4)
    chosen = set(cold.log.item[cold.targets].tolist())
    assert chosen and not chosen & set(cold.log.item[cold.fit | cold.history].tolist())
    assert set(cold.targets.tolist()) <= set(split.targets.tolist())
    assert (np.diff(cold.recency(1.0).indptr)[cold.users] > 0).all()
    with pytest.raises(InvalidInput):
        only_cold_items(split, 1.5)


def test_what_led_to_a_purchase_is_not_known_before_it():
    """The funnel of the last purchase is part of the answer; the same item viewed days before is history."""
    rows = [("a", "view", 0), ("b", "purchase", 60), ("a", "purchase", 120), ("c", "view", 3_000), ("d", "view", 6_000)]
    rows += [("c", "click", 6_001), ("e", "view", 6_002), ("c", "cart", 6_003), ("c", "purchase", 6_010)]
    log = make_event_log(events(*(("ada", *row) for row in rows)), list("abcde"))
    known = [True] * 5 + [False, True, False, False]
    test = leave_one_out(log).test
    assert test.history.tolist() == known
    whole = np.ones(len(rows), bool)
    held = hold_out_last(Split("all", log, whole, whole, np.zeros(0, np.int64)))
    assert held.fit.tolist() == known and held.targets.tolist() == [8]
    found = tokens_of(held, whole)
    assert ["abcde"[item] for item in found.item] == ["b", "a", "c", "d", "e", "c"]
    assert found.target.tolist() == [True, True, False, False, False, True]
