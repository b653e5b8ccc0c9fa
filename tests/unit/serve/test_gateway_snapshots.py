from pathlib import Path
from types import SimpleNamespace

from benchmarks._synthetic_shop import NOW, synthetic_tables
from services.core.metrics import ServingMetrics
from services.features.snapshot_build import build_snapshot, publish
from services.serve.serving import SnapshotWatcher


def publish_shop(folder: Path, items: int) -> str:
    version = build_snapshot(synthetic_tables(items), folder, now=NOW)
    publish(folder, version)
    return version


def test_a_shop_without_items_is_usable_and_serves_nothing(tmp_path: Path):
    watcher = SnapshotWatcher(tmp_path / "snapshots", ServingMetrics())
    watcher.refresh()
    assert watcher.serving is None and watcher.usable


def test_a_new_snapshot_is_taken_up_and_the_old_one_stays_with_who_holds_it(tmp_path: Path):
    watcher = SnapshotWatcher(tmp_path, ServingMetrics())
    first = publish_shop(tmp_path, 20)
    watcher.refresh()
    held = watcher.serving
    second = publish_shop(tmp_path, 30)
    watcher.refresh()
    assert (held.snapshot.version, watcher.serving.snapshot.version) == (first, second)
    assert (held.snapshot.count, watcher.serving.snapshot.count) == (20, 30)


def test_a_damaged_snapshot_leaves_the_old_one_in_service(tmp_path: Path):
    metrics = ServingMetrics()
    watcher = SnapshotWatcher(tmp_path, metrics)
    first = publish_shop(tmp_path, 20)
    watcher.refresh()
    second = publish_shop(tmp_path, 30)
    (tmp_path / second / "vector_codes.npy").write_bytes(b"cut short")
    watcher.refresh()
    assert watcher.serving.snapshot.version == first
    assert watcher.usable and watcher.failure is not None
    assert "portrait_snapshot_failures_total 1.0" in metrics.text().decode()


def test_a_damaged_first_snapshot_is_not_usable(tmp_path: Path):
    version = publish_shop(tmp_path, 20)
    (tmp_path / version / "vector_codes.npy").unlink()
    watcher = SnapshotWatcher(tmp_path, ServingMetrics())
    watcher.refresh()
    assert watcher.serving is None and not watcher.usable


def test_search_that_cannot_be_opened_over_a_new_snapshot_goes_on_over_the_old_one(tmp_path: Path):
    search = SimpleNamespace(over=lambda snapshot: snapshot.version, changed=lambda: False)
    watcher = SnapshotWatcher(tmp_path, ServingMetrics(), search=search)
    first = publish_shop(tmp_path, 20)
    watcher.refresh()
    search.over = lambda snapshot: None
    second = publish_shop(tmp_path, 30)
    watcher.refresh()
    assert (watcher.serving.snapshot.version, watcher.serving.search) == (second, first)
