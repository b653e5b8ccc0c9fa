"""The index of item vectors: that it is searched as widely as its vectors need, and that its lists are only mapped."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from services.features import nearest_build
from services.features.inverted_lists import BLOCK, ID_BYTES, LISTS_FILE, SIZES_FILE
from services.features.item_vectors import ItemVectors
from services.features.nearest import EXACT, INDEX_FILE, open_index
from services.features.nearest_build import INDEX_FILES, RECALL, WIDER, Earlier, build_index, exact_nearest

DIMENSION = 32


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand items are many."""
    monkeypatch.setattr(nearest_build, "SCAN_LIMIT", 1_500)


def clusters(count: int, spread: float = 0.3) -> np.ndarray:
    random = np.random.default_rng(8)
    centres = random.standard_normal((40, DIMENSION))
    vectors = centres[random.integers(0, 40, count)] + spread * random.standard_normal((count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_exact_search_finds_the_greatest_products_in_any_number_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, rows = clusters(300), np.arange(0, 300, 2, dtype=np.int32)
    expected = rows[np.argsort(-(vectors[:5] @ vectors[rows].T), axis=1)[:, :20]]
    assert exact_nearest(vectors, rows, vectors[:5], 20).tolist() == expected.tolist()
    monkeypatch.setattr(nearest_build, "CHUNK", 7)
    assert exact_nearest(vectors, rows, vectors[:5], 20).tolist() == expected.tolist()


def test_few_items_need_no_index(tmp_path: Path) -> None:
    vectors = clusters(nearest_build.EXACT_LIMIT)
    rows = np.arange(len(vectors), dtype=np.int32)
    assert build_index(vectors, ItemVectors.of(vectors), rows, tmp_path) == EXACT
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("listed")
def test_lists_give_rows_and_pad_where_they_hold_too_few(tmp_path: Path) -> None:
    vectors = clusters(3_000)
    kept, rows = ItemVectors.of(vectors), np.flatnonzero(np.arange(3_000) % 3).astype(np.int32)
    settings = build_index(vectors, kept, rows, tmp_path)
    assert settings["kind"] == "lists"
    assert settings["recall"] >= RECALL
    index = open_index(tmp_path, settings, kept, rows)
    found, cosine = index.search(vectors[rows[:50]], 10)
    assert found[:, 0].tolist() == rows[:50].tolist()
    assert np.isin(found, rows).all()
    np.testing.assert_allclose(cosine[:, 0], 1, atol=1e-3)
    one = open_index(tmp_path, settings | {"probe": 1}, kept, rows)
    found, cosine = one.search(vectors[:1], 1_900)
    assert (found[0, -100:] == -1).all()
    assert (cosine[0, -100:] == 0).all()


@pytest.mark.usefixtures("listed")
def test_lists_lie_in_one_file_that_processes_share_and_may_lose_its_name(tmp_path: Path) -> None:
    vectors = clusters(3_000)
    kept, rows = ItemVectors.of(vectors), np.arange(3_000, dtype=np.int32)
    settings = build_index(vectors, kept, rows, tmp_path)
    sizes = np.load(tmp_path / SIZES_FILE)
    assert sizes.sum() == 3_000
    room = -(-sizes // BLOCK) * BLOCK
    assert (tmp_path / LISTS_FILE).stat().st_size == room.sum() * (DIMENSION // 4 + ID_BYTES)
    assert (tmp_path / INDEX_FILE).stat().st_size < 3_000 * DIMENSION
    index = open_index(tmp_path, settings, kept, rows)
    expected, _ = index.search(vectors[:20], 30)
    assert str(tmp_path / LISTS_FILE) in Path("/proc/self/maps").read_text()
    for path in tmp_path.iterdir():
        path.unlink()
    assert index.search(vectors[:20], 30)[0].tolist() == expected.tolist()


@pytest.mark.usefixtures("listed")
def test_the_same_vectors_give_the_same_files_and_settings(tmp_path: Path) -> None:
    vectors = clusters(2_000)
    kept, rows = ItemVectors.of(vectors), np.arange(2_000, dtype=np.int32)
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first, second = (build_index(vectors, kept, rows, folder) for folder in folders)
    assert first == second
    for name in INDEX_FILES:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


@pytest.mark.usefixtures("listed")
def test_items_without_clusters_are_searched_more_widely(tmp_path: Path) -> None:
    settings = []
    for name, vectors in (("near", clusters(2_000, 0.05)), ("far", clusters(2_000, 5.0))):
        (tmp_path / name).mkdir()
        kept, rows = ItemVectors.of(vectors), np.arange(2_000, dtype=np.int32)
        settings.append(build_index(vectors, kept, rows, tmp_path / name))
    assert settings[0]["probe"] < settings[1]["probe"]
    assert all(one["probe"] % WIDER == 0 for one in settings)


class Building:
    """Builds one index after another, and knows which of them were trained."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.trained = folder, 0
        real = nearest_build._trained

        def counted(*given: object) -> object:
            self.trained += 1
            return real(*given)

        monkeypatch.setattr(nearest_build, "_trained", counted)

    def build(self, name: str, vectors: np.ndarray, rows: np.ndarray, after: Earlier | None = None) -> Earlier:
        (self.folder / name).mkdir()
        return Earlier(
            self.folder / name, build_index(vectors, ItemVectors.of(vectors), rows, self.folder / name, after)
        )


@pytest.fixture
def building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Building:
    return Building(tmp_path, monkeypatch)


@pytest.mark.parametrize("scan_limit", [1_500, 10_000])
def test_the_index_of_the_same_vectors_is_the_one_before(
    building: Building, monkeypatch: pytest.MonkeyPatch, scan_limit: int
) -> None:
    monkeypatch.setattr(nearest_build, "SCAN_LIMIT", scan_limit)
    vectors, rows = clusters(2_000), np.arange(0, 2_000, dtype=np.int32)
    first = building.build("first", vectors, rows)
    second = building.build("second", vectors, rows, first)
    assert (second.settings, building.trained) == (first.settings, 1)
    files = sorted(path.name for path in first.folder.iterdir())
    assert files == sorted(path.name for path in second.folder.iterdir())
    assert all((first.folder / name).samefile(second.folder / name) for name in files)


@pytest.mark.parametrize("scan_limit", [1_500, 10_000])
def test_an_index_of_other_items_keeps_what_was_trained_and_finds_them(
    building: Building, monkeypatch: pytest.MonkeyPatch, scan_limit: int
) -> None:
    monkeypatch.setattr(nearest_build, "SCAN_LIMIT", scan_limit)
    vectors = clusters(2_400)
    first = building.build("first", vectors, np.arange(2_000, dtype=np.int32))
    rows = np.arange(300, 2_400, dtype=np.int32)
    second = building.build("second", vectors, rows, first)
    assert building.trained == 1
    assert second.settings["trained"] == 2_000
    assert second.settings["source"] != first.settings["source"]
    assert second.settings["recall"] >= RECALL
    index = open_index(second.folder, second.settings, ItemVectors.of(vectors), rows)
    found, _ = index.search(vectors[2_300:2_400], 100)
    exact = exact_nearest(vectors, rows, vectors[2_300:2_400], 100)
    assert np.mean([np.isin(e, f).mean() for f, e in zip(found, exact, strict=True)]) > 0.95
    assert np.isin(index.search(vectors[:100], 5)[0], rows).all()
    third = building.build("third", vectors, rows, second)
    assert third.settings == second.settings


@pytest.mark.usefixtures("listed")
def test_an_index_is_trained_anew_when_it_was_trained_for_something_else(building: Building) -> None:
    vectors = clusters(3_300)
    first = building.build("first", vectors, np.arange(2_000, dtype=np.int32))
    building.build("larger", vectors, np.arange(3_300, dtype=np.int32), first)
    assert building.trained == 2
    random = np.random.default_rng(4)
    others = random.standard_normal((2_000, DIMENSION)).astype(np.float32)
    others[:, 4:] *= 0.02  # four of the components are all that there is
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    last = building.build("others", others, np.arange(2_000, dtype=np.int32), first)
    assert building.trained == 3
    assert last.settings["recall"] >= RECALL


def test_building_and_searching_leave_torch_its_threads(tmp_path: Path) -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)  # what torch and faiss share
    try:
        vectors = clusters(2_000)
        kept, rows = ItemVectors.of(vectors), np.arange(2_000, dtype=np.int32)
        settings = build_index(vectors, kept, rows, tmp_path)
        open_index(tmp_path, settings, kept, rows).search(vectors[:2], 10)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)
