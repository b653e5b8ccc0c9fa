"""Item vectors in eight bits: how near they stay to what was stored, and that nearest items stay the nearest."""

from pathlib import Path

import numpy as np

from services.features import item_vectors
from services.features.item_vectors import ItemVectors
from services.features.nearest import best_of, open_index
from services.features.nearest_build import build_index


def directions(count: int, dimension: int = 384, seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    vectors = (
        random.standard_normal((count, dimension))
        + 2 * random.standard_normal((20, dimension))[random.integers(0, 20, count)]
    )
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_vectors_stay_within_the_stated_bound_and_have_length_one():
    exact = directions(500)
    kept = ItemVectors.of(exact)
    away = np.linalg.norm(kept[:] - exact, axis=1)
    assert (away <= np.sqrt(384) * np.abs(exact).max(axis=1) / 127).all()
    np.testing.assert_allclose(np.linalg.norm(kept[:], axis=1), 1, atol=1e-5)


def test_cosines_are_off_by_less_than_five_thousandths():
    exact, queries = directions(2_000), directions(50, seed=4)
    kept = ItemVectors.of(exact)
    assert np.abs(kept.dot(np.arange(2_000), queries) - exact @ queries.T).max() < 0.005


def test_vectors_along_an_axis_are_exact_and_unusable_ones_zero():
    given = np.array([[0, -1], [3, 3], [0, 0], [np.nan, 1], [np.inf, 1], [1e-9, 0]], np.float32)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        np.asarray(ItemVectors.of(given)), [[0, -1], [half, half], [0, 0], [0, 0], [0, 0], [0, 0]], atol=1e-6
    )


def test_inner_products_are_those_of_the_rows_in_any_number_of_pieces(monkeypatch):
    kept, rows = ItemVectors.of(directions(50)), np.array([4, 4, 49, 0, 17])
    queries = directions(3, seed=5)
    monkeypatch.setattr(item_vectors, "CHUNK", 2)
    np.testing.assert_allclose(kept.dot(rows, queries), kept[rows] @ queries.T, atol=1e-6)
    np.testing.assert_allclose(kept.dot(rows, queries[0]), kept[rows] @ queries[0], atol=1e-6)
    assert kept.dot(rows[:0], queries).shape == (0, 3)


def test_no_vectors_are_no_vectors():
    kept = ItemVectors.of(np.empty((0, 0), np.float32))
    assert (len(kept), kept.shape, np.asarray(kept).shape) == (0, (0, 0), (0, 0))


def test_the_index_finds_the_nearest_by_the_exact_vectors_and_pads(tmp_path: Path):
    exact = directions(3_000)
    rows = np.flatnonzero(np.arange(3_000) % 3).astype(np.int32)
    kept = ItemVectors.of(exact)
    index = open_index(tmp_path, build_index(exact, kept, rows, tmp_path), kept, rows)
    queries = directions(30, seed=6)
    found, cosine = index.search(queries, 50)
    expected, theirs = best_of(queries @ exact[rows].T, rows, 50)
    same = sum(np.intersect1d(f, e).size for f, e in zip(found, expected, strict=True))
    assert same >= 0.9 * found.size
    np.testing.assert_allclose(cosine[:, 0], theirs[:, 0], atol=0.005)
    assert (np.diff(cosine, axis=1) <= 0).all()
    everything, _ = index.search(queries[:1], 2_010)
    assert (everything[0, -10:] == -1).all()
    assert np.array_equal(np.sort(everything[0, :2_000]), rows)
