import gzip
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from services.core.errors import ImportFailed, InvalidInput
from services.networks.numpy_search_ranker import NumpySearchRanker
from training.search_clicks import ShownResults, attraction, click_lists, examination
from training.search_evaluation import (
    NDCG,
    SHARE,
    JudgedLists,
    SearchProtocol,
    evaluate_scores,
    evaluate_trained,
    folds_of,
    wins_and_losses,
)
from training.search_judgements import Judgements, read_judgements
from training.search_metrics import ndcg, random_ndcg, reciprocal_rank
from training.search_ranker import (
    GradedLists,
    SearchRankerNetwork,
    SearchRankerSettings,
    fit_search_ranker,
    numpy_weights,
)
from training.search_report import search_document, search_html, search_markdown

HOME_DEPOT = """"id","product_uid","product_title","search_term","relevance"
2,11,"Angle 90°",bracket,3
3,12,Lamp,bracket,1.5
4,11,"Angle 90°",lamp,1
"""


def test_home_depots_file_is_recognised_zipped_and_in_latin_1(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.csv.zip", "w") as archive:
        archive.writestr("train.csv", HOME_DEPOT.encode("latin-1"))
    judged = read_judgements(tmp_path / "train.csv.zip")
    assert judged.queries == ["bracket", "lamp"]
    assert judged.items.to_dicts() == [{"item_id": "11", "title": "Angle 90°"}, {"item_id": "12", "title": "Lamp"}]
    assert judged.item.tolist() == [0, 1, 0] and judged.starts.tolist() == [0, 2, 3]
    assert judged.gain.tolist() == pytest.approx([3, 2**0.5 - 1, 0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("j.tsv", "query\titem_id\tgrade\na\tx\t1\na\tx\t3\nb\ty\t0\n"),
        ("j.jsonl", '{"query":"a","item_id":"x","grade":2}\n{"query":"b","item_id":"y","grade":0}\n'),
    ],
)
def test_other_files_are_read_and_a_pair_judged_twice_has_its_mean(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / (name + ".gz")).write_bytes(gzip.compress(text.encode()))
    judged = read_judgements(tmp_path / (name + ".gz"))
    assert judged.queries == ["a", "b"] and judged.grade.tolist() == [2, 0]


def test_columns_are_mapped_and_what_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.csv"
    path.write_text("q,sku,stars\na,x,1\n")
    assert read_judgements(path, {"query": "q", "item_id": "sku", "grade": "stars"}).grade.tolist() == [1]
    with pytest.raises(ImportFailed, match="no column query"):
        read_judgements(path)
    with pytest.raises(InvalidInput, match="no number"):
        read_judgements(path, {"query": "q", "item_id": "sku", "grade": "q"})
    with pytest.raises(ImportFailed, match="check the path"):
        read_judgements(tmp_path / "absent.csv")


def test_labels_of_amazons_shopping_queries_are_grades(tmp_path: Path) -> None:
    path = tmp_path / "esci.csv"
    path.write_text("query,product_id,product_title,esci_label\na,x,X,E\na,y,Y,I\n")
    assert read_judgements(path).grade.tolist() == [3, 0]


def test_graded_ndcg_of_lists_of_different_lengths() -> None:
    gain, starts = np.array([3.0, 0.0, 1.0, 0.0, 0.0]), np.array([0, 3, 5])
    best = 3 + 1 / np.log2(3)
    found = ndcg(np.array([1.0, 3.0, 2.0, 0.0, 1.0]), gain, starts)
    assert found[0] == pytest.approx((1 / np.log2(3) + 3 / 2) / best)
    assert np.isnan(found[1])
    whole = (1 + 1 / np.log2(3) + 1 / 2) * 4 / 3
    assert random_ndcg(gain, starts)[0] == pytest.approx(whole / best)
    assert reciprocal_rank(np.array([1.0, 3.0, 2.0, 0.0, 1.0]), gain >= 3, starts)[0] == pytest.approx(1 / 3)


def lists(queries: int = 60, seed: int = 0) -> JudgedLists:
    """Judged lists of five whose grade is the second of three features."""
    rng = np.random.default_rng(seed)
    features = rng.random((queries * 5, 3)).astype(np.float32)
    grade = np.round(features[:, 1] * 2) + 1
    judged = Judgements(
        "hand.csv",
        [f"{'long ' * (q % 4)}query {q}" for q in range(queries)],
        pl.DataFrame({"item_id": [str(i) for i in range(queries * 5)]}),
        np.arange(queries * 5),
        grade,
        np.arange(queries + 1) * 5,
    )
    return JudgedLists(judged, features, ("a", "b", "c"), np.arange(queries) % 2 == 0)


SMALL = SearchRankerSettings(hidden=(8, 4), members=1, max_epochs=15, batch_lists=8, learning_rate=2e-2, dropout=0.0)
PROTOCOL = SearchProtocol(least_judged=5, folds=3)


def test_a_trained_ranker_finds_what_grades_go_by_in_queries_it_never_saw() -> None:
    data = lists()
    trained = evaluate_trained(data, PROTOCOL, settings=SMALL)
    other = evaluate_scores("other", lambda: data.features[:, 0], data, PROTOCOL)
    perfect = evaluate_scores("perfect", lambda: data.judgements.grade, data, PROTOCOL)
    assert perfect.metrics[NDCG].mean == 1 and perfect.metrics[SHARE].mean == pytest.approx(1)
    assert trained.metrics[NDCG].mean > 0.97 > other.metrics[NDCG].mean
    assert set(folds_of(data.judgements, PROTOCOL)) == {0, 1, 2}
    compared = wins_and_losses(trained, other, data.judgements.queries, most=3)
    assert len(compared["wins"]) == 3
    document = search_document(data, PROTOCOL, [trained, other], compared)
    assert document["models"][0]["name"] == "trained" and document["data"]["evaluated_queries"] == 60
    assert set(document["models"][0]["slices"]) == {"2–3 words", "≥ 4 words", "with digits", "misspelt"}
    assert "| trained − other |" in search_markdown(data, PROTOCOL, [trained, other], compared)
    assert search_html(data, PROTOCOL, [trained, other], compared).startswith("<!doctype html>")


def test_the_network_in_numpy_scores_as_it_was_trained() -> None:
    model = SearchRankerNetwork(3, SMALL).eval()
    torch.nn.init.normal_(model.wide.weight)
    x = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    plain = {"mean": np.zeros(3, np.float32), "scale": np.ones(3, np.float32)}
    ours = NumpySearchRanker(("a", "b", "c"), numpy_weights([model]) | plain)
    with torch.inference_mode():
        assert ours.score(x) == pytest.approx(model(torch.as_tensor(x)).numpy(), abs=1e-5)


def clicks(bias: np.ndarray, worth: np.ndarray, seed: int = 0, searches: int = 20_000) -> ShownResults:
    """Rows in random places, clicked with P(examined) · P(attractive)."""
    rng = np.random.default_rng(seed)
    row = np.argsort(rng.random((searches, len(worth))), axis=1)[:, : len(bias)]
    position = np.broadcast_to(np.arange(len(bias)), row.shape)
    clicked = rng.random(row.shape) < bias[position] * worth[row]
    return ShownResults(row.ravel(), position.ravel(), clicked.ravel())


def test_propensities_are_estimated_from_rows_seen_in_several_places() -> None:
    bias = np.array([1.0, 0.5, 0.25])
    shown = clicks(bias, np.array([0.6, 0.3, 0.1, 0.2]))
    assert examination(shown, 3) == pytest.approx(bias, abs=0.03)
    worth = attraction(shown, 4, bias)
    assert worth / worth[0] == pytest.approx(np.array([0.6, 0.3, 0.1, 0.2]) / 0.6, abs=0.05)


def test_rows_that_were_always_in_one_place_say_nothing_of_places() -> None:
    shown = ShownResults(np.array([0, 1] * 50), np.array([0, 1] * 50), np.array([True, False] * 50))
    assert examination(shown, 2, np.array([1.0, 0.4])) == pytest.approx([1.0, 0.4])


def test_a_click_far_down_teaches_more_than_one_on_top() -> None:
    shown = ShownResults(np.array([0, 1]), np.array([0, 1]), np.array([True, True]))
    features, starts = np.zeros((3, 1), np.float32), np.array([0, 3])
    assert click_lists(features, starts, shown, np.array([1.0, 0.5])).target.tolist() == [1, 2, 0]
    assert click_lists(features, starts, shown, None).target.tolist() == [1, 1, 0]


def test_targets_of_clicks_are_learned() -> None:
    data = lists()
    graded = data.graded()
    target = (graded.gain == np.repeat(np.maximum.reduceat(graded.gain, graded.starts[:-1]), 5)).astype(np.float32)
    network = fit_search_ranker(GradedLists(graded.features, graded.gain, graded.starts, target), data.names, SMALL)
    assert np.nanmean(ndcg(network.score(graded.features), graded.gain, graded.starts)) > 0.97
