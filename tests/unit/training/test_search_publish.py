"""A search ranker from clicks and from judgements: what a click counts, who is measured, and what is published."""

from pathlib import Path

import numpy as np
import pytest

from services.core.errors import NotReady
from services.networks.numpy_search_ranker import BY_HAND
from services.registry.manifest import SEARCH_RANKER, DataRange
from services.registry.registry import UNTRAINED, ModelRegistry, Needs
from services.registry.search_artefact import load_search_ranker
from training.search_clicks import LEAST_PROPENSITY, ShownResults
from training.search_publish import SearchData, digest_of, lists_of_clicks, parts_of, train_and_publish
from training.search_ranker import GradedLists, SearchRankerSettings

NAMES = ("words", "appeal", "personal")
QUICK = SearchRankerSettings(hidden=(8, 4), members=1, max_epochs=12, batch_lists=8, dropout=0.0, learning_rate=1e-2)


def test_a_click_counts_the_inverse_of_its_place_and_what_was_not_shown_counts_nothing() -> None:
    seen = ShownResults(np.array([0, 1, 2]), np.array([0, 1, 9]), np.array([False, True, True]))
    features = np.zeros((4, 3), np.float32)
    graded = lists_of_clicks(features, np.array([0, 4]), np.array([0, 1, 2, -1]), seen, np.array([1.0, 0.5, 0.01]))
    assert graded.target is not None
    assert graded.target.tolist() == pytest.approx([0.0, 2.0, 1 / LEAST_PROPENSITY, 0.0])
    assert graded.gain[3] == 0 and graded.gain[1] > graded.gain[0] > 0


def shop(lists: int = 150, size: int = 12, seed: int = 0) -> SearchData:
    """Whoever searches wants the most appealing of what is shown; nobody is known, so nothing is personal."""
    rng = np.random.default_rng(seed)
    features = rng.random((lists * size, len(NAMES))).astype(np.float32)
    features[:, 2] = 0
    starts = np.arange(lists + 1) * size
    best = starts[:-1] + features[:, 1].reshape(lists, size).argmax(axis=1)
    target = np.zeros(lists * size, np.float32)
    target[best] = 1
    graded = GradedLists(features, features[:, 1].astype(np.float64), starts, target)
    known = DataRange(lists, 0, size, "a", "b", "click", digest_of(graded))
    by_hand = np.array([1.0, 0.0, 0.5], np.float32)
    return SearchData("clicks", graded, np.arange(lists) // 2, NAMES, by_hand, known)


def test_lists_of_one_query_teach_or_measure_together() -> None:
    data = shop()
    taught, measured = (data.lists.take(part) for part in parts_of(data, seed=0))
    assert len(taught) + len(measured) == len(data.lists) and len(measured) == pytest.approx(30, abs=2)
    kept = {row.tobytes() for row in measured.features}
    assert not kept & {row.tobytes() for row in taught.features}


def test_what_is_published_beats_the_untrained_ranker_and_keeps_its_weights_for_what_was_never_seen(
    tmp_path: Path,
) -> None:
    registry = ModelRegistry(tmp_path / "search-rankers", UNTRAINED)
    told: list[dict] = []
    manifest = train_and_publish(shop(), registry, settings=QUICK, space="s", tell=told.append)
    assert (manifest.kind, manifest.space, manifest.taught_by) == (SEARCH_RANKER, "s", "clicks")
    assert manifest.metrics["ndcg@10"].low > manifest.baseline["ndcg@10"].high and manifest.gain.low > 1
    assert manifest.epochs == len(told) > 0 and next(iter(manifest.importances)) == "appeal"
    assert registry.promote(manifest.version).passes
    loaded = load_search_ranker(registry, manifest.version, Needs(NAMES, "s"))
    by_hand = loaded.network.weights[BY_HAND]
    assert by_hand[2] > 0 and not by_hand[:2].any()
    two = np.zeros((2, 3), np.float32)
    two[1, 2] = 1
    assert loaded.network.score(two)[1] - loaded.network.score(two)[0] == pytest.approx(by_hand[2], rel=1e-4)


def test_too_few_clicks_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="led to a click"):
        train_and_publish(shop(lists=40), ModelRegistry(tmp_path, UNTRAINED), settings=QUICK)
