"""A cross-encoder is taught on judged pairs, and never scores a pair that it has learned from."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tiny_bert import tiny_bert

from services.encoders.device import resolve_device
from services.networks.cross_encoder import CrossEncoderConfig, PairTokens, split_encoder
from training.search_cross_encoder import (
    CrossEncoderSettings,
    JudgedPairs,
    cross_scores,
    pair_states,
    teach_cross_encoder,
)
from training.search_cross_evaluation import evaluate_cross_encoder, out_of_fold_scores
from training.search_evaluation import JudgedLists, SearchProtocol, evaluate_trained
from training.search_judgements import Judgements
from training.search_ranker import SearchRankerSettings

GOOD, WORDS, LENGTH = 5, range(5, 12), 4
CONFIG = CrossEncoderConfig(layers=2, frozen=1)
SETTINGS = CrossEncoderSettings(epochs=6, batch_pairs=24, learning_rate=5e-3, head_rate=1e-2)
RANKER = SearchRankerSettings(hidden=(8, 4), members=1, max_epochs=10)
PROTOCOL = SearchProtocol(least_judged=6, folds=2)


def network():
    return split_encoder(tiny_bert(), CONFIG)


def shop(lists: int = 120) -> tuple[JudgedLists, PairTokens]:
    """Lists of four and of six titles of four words; those with the good word are what is wanted. The only feature is
    noise."""
    rng = np.random.default_rng(4)
    counts = np.where(np.arange(lists) % 2 == 0, 4, 6)
    rows = int(counts.sum())
    titles = rng.choice(WORDS, (rows, LENGTH))
    ids = np.column_stack((np.ones(rows), rng.choice(WORDS, rows), np.full(rows, 2), titles)).astype(np.int64)
    places = np.tile(np.arange(ids.shape[1]), rows)
    pairs = PairTokens(ids.ravel(), places, (places > 2).astype(np.int64), np.arange(rows + 1) * ids.shape[1])
    judged = Judgements(
        source="made up",
        queries=[f"q{n}" for n in range(lists)],
        items=pl.DataFrame({"item_id": [str(n) for n in range(rows)]}),
        item=np.arange(rows),
        grade=1.0 + 2.0 * (titles == GOOD).any(axis=1),
        starts=np.concatenate(([0], np.cumsum(counts))),
    )
    features = rng.normal(size=(rows, 1)).astype(np.float32)
    return JudgedLists(judged, features, ("noise",), np.zeros(lists, bool)), pairs


def judged_pairs(lists: JudgedLists) -> JudgedPairs:
    judged = lists.judgements
    return JudgedPairs(np.arange(len(judged.item)), judged.grade, judged.gain, judged.starts)


def test_states_on_disk_are_those_of_each_pair_and_are_read_again(tmp_path: Path):
    lower, _ = network()
    _, pairs = shop(6)
    states = pair_states(lower, pairs, tmp_path / "states.npy")
    hidden, lengths = states.take(np.array([7, 2]))
    with resolve_device("cpu").inference():
        whole, _ = lower(pairs)
    expected = torch.cat([whole[pairs.starts[row] : pairs.starts[row + 1]] for row in (7, 2)])
    assert lengths.tolist() == [7, 7]
    assert torch.allclose(hidden, expected.float(), atol=2e-2)
    again = pair_states(network()[0], pairs, tmp_path / "states.npy", lambda _: pytest.fail("computed anew"))
    assert (again.hidden == states.hidden).all()


def test_it_learns_what_grades_go_by(tmp_path: Path):
    lower, upper = network()
    lists, pairs = shop()
    errors: list[float] = []
    states = pair_states(lower, pairs, tmp_path / "states.npy")
    taught = teach_cross_encoder(
        upper, states, judged_pairs(lists), SETTINGS, 1, lambda step: errors.append(step["squared"])
    )
    assert np.mean(errors[-5:]) < 0.5 * np.mean(errors[:5])
    said = cross_scores(taught.upper, states, np.arange(len(pairs)))
    assert np.corrcoef(said, lists.judgements.grade)[0, 1] > 0.7


def test_what_it_said_before_is_of_a_network_that_had_not_learned_from_the_pair(tmp_path: Path):
    lower, upper = network()
    lists, pairs = shop()
    states = pair_states(lower, pairs, tmp_path / "states.npy")
    taught = teach_cross_encoder(upper, states, judged_pairs(lists), SETTINGS)
    assert np.isfinite(taught.before).all()
    assert (taught.before[taught.step == 0] == 0).all()  # the head begins with nothing
    assert all(len(set(taught.step[a:b])) == 1 for a, b in pairwise(lists.judgements.starts))


def test_rows_of_a_fold_are_scored_by_a_network_that_saw_none_of_it(tmp_path: Path):
    lists, pairs = shop(60)
    whole = out_of_fold_scores(lists, pairs, network(), PROTOCOL, tmp_path / "a", SETTINGS)
    judged = lists.judgements
    fold = np.random.default_rng(PROTOCOL.seed).permutation(60) % PROTOCOL.folds
    mine = np.flatnonzero((fold[judged.owner] == 0) & (np.repeat(np.diff(judged.starts), np.diff(judged.starts)) >= 6))
    grade = judged.grade.copy()
    grade[mine] = 4.0 - grade[mine]  # what the fold's own judgements say must not matter to its scores
    other = JudgedLists(
        Judgements(judged.source, judged.queries, judged.items, judged.item, grade, judged.starts),
        lists.features,
        lists.names,
        lists.misspelt,
    )
    changed = out_of_fold_scores(other, pairs, network(), PROTOCOL, tmp_path / "b", SETTINGS)
    assert np.array_equal(whole[0][mine], changed[0][mine])
    assert not np.array_equal(whole[1], changed[1], equal_nan=True)


def test_with_its_scores_the_ranker_finds_what_the_features_do_not_say(tmp_path: Path):
    lists, pairs = shop(500)
    without = evaluate_trained(lists, PROTOCOL, settings=RANKER)
    found = evaluate_cross_encoder(
        "cross-encoder", lists, pairs, network(), PROTOCOL, tmp_path, settings=SETTINGS, ranker=RANKER
    )
    assert found.metrics["share@10"].mean > without.metrics["share@10"].mean + 0.2
