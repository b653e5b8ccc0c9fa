import json

import numpy as np
import pytest
from hand_split import ITEMS, split_of

from training.evaluation import evaluate, evaluate_all, user_slices
from training.html_report import html
from training.report import differences, document, markdown

SPLIT = split_of(u="abe", v="bca", w="bd", x="bcde")


class Fixed:
    """Offers the same list to everybody; the list depends on the seed."""

    def __init__(self, name: str, ranked: str) -> None:
        self.name, self.ranked = name, ranked

    def fit(self, split) -> None:
        self.split = split

    def recommend(self, users, k):
        row = [ITEMS.index(item) for item in self.ranked][:k]
        return np.tile(np.array(row + [-1] * (k - len(row)), np.int32), (len(users), 1))


def test_metrics_are_means_over_the_evaluated_users():
    # Targets: u e, v a, x e.
    result = evaluate(lambda seed: Fixed("fixed", "ae"), SPLIT)
    assert result.metrics["recall@1"].mean == pytest.approx(1 / 3)
    assert result.metrics["recall@10"].mean == 1.0
    assert result.metrics["mrr@10"].mean == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert result.metrics["coverage@10"].mean == pytest.approx(2 / 5)


def test_seeds_are_averaged_by_user():
    result = evaluate(lambda seed: Fixed("fixed", "e" if seed else "b"), SPLIT, seeds=2)
    assert result.seeds == 2
    assert result.per_user["recall@1"].tolist() == [0.5, 0.0, 0.5]


def test_models_without_randomness_run_once():
    calm = Fixed("calm", "a")
    calm.deterministic = True
    results = evaluate_all([lambda seed: calm, lambda seed: Fixed("wild", "b")], SPLIT, seeds=3)
    assert [(result.name, result.seeds) for result in results] == [("calm", 1), ("wild", 3)]


def test_slices_part_the_users_by_history_and_by_how_known_the_target_is():
    slices = user_slices(SPLIT)
    # Fit part: e is nobody's; a is u's.
    assert slices["cold target"].tolist() == [True, False, True]
    histories = np.sum([members for label, members in slices.items() if label.startswith("history")], axis=0)
    assert histories.tolist() == [1, 1, 1]


def test_the_document_has_the_contracts_fields_and_is_json():
    result = evaluate(lambda seed: Fixed("fixed", ""), SPLIT)
    told = json.loads(json.dumps(document(SPLIT, [result], "shop"), allow_nan=False))
    assert told["split"] == "leave-one-out"
    assert told["data"]["evaluated_users"] == 3
    model = told["models"][0]
    assert (model["name"], model["seeds"]) == ("fixed", 1)
    assert set(model["metrics"]["recall@10"]) == {"mean", "low", "high"}
    assert model["metrics"]["novelty@10"]["mean"] is None
    assert model["seconds"] >= 0


def test_the_table_names_every_model_and_slice():
    result = evaluate(lambda seed: Fixed("fixed", "ae"), SPLIT)
    text = markdown(SPLIT, [result], "shop")
    assert "| fixed | 1.0000 |" in text
    assert "cold target" in text


def test_differences_are_taken_user_by_user():
    better = evaluate(lambda seed: Fixed("better", "eab"), SPLIT)
    worse = evaluate(lambda seed: Fixed("worse", "bea"), SPLIT)
    [(first, second, found)] = differences([worse, better])
    assert (first, second) == ("better", "worse")
    gap = better.per_user["ndcg@10"] - worse.per_user["ndcg@10"]
    assert found["ndcg@10"].mean == pytest.approx(gap.mean())
    assert document(SPLIT, [worse, better], "shop")["differences"][0]["model"] == "better"
    assert "better − worse" in markdown(SPLIT, [worse, better], "shop")


def test_the_page_stands_alone_and_escapes_what_it_is_given():
    result = evaluate(lambda seed: Fixed("<fixed>", "ae"), SPLIT)
    page = html(SPLIT, [result], "<shop> & co")
    assert "&lt;fixed&gt;" in page and "&lt;shop&gt; &amp; co" in page and "<fixed>" not in page
    assert page.count("<svg") == 4 and "<script" not in page and "http" not in page


def test_slices_by_groups_of_items():
    group = np.array([item == "e" for item in ITEMS])
    assert user_slices(SPLIT, {"category E": group})["category E"].tolist() == [True, False, True]
