"""A gateway whose host has nothing: what the storage holds comes, and a storage that is down changes nothing."""

from pathlib import Path

from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.features.snapshot import current_snapshot
from services.features.snapshot_storage import push_snapshot
from services.serve.mirror import Mirror, start_mirror
from tests.unit.features.test_snapshot_storage import build


def test_the_storages_snapshot_comes_and_stays_when_the_storage_goes(tmp_path: Path) -> None:
    bucket, paths = tmp_path / "bucket", HomePaths(tmp_path / "home")
    mirror = Mirror(paths, bucket.as_uri())
    mirror.pull()
    assert current_snapshot(paths.snapshots) is None and mirror.failure is None
    built = build(tmp_path / "worker", 3.0)
    push_snapshot(built, ObjectStorage(bucket.as_uri()))
    mirror.pull()
    served = current_snapshot(paths.snapshots)
    assert served is not None and served.name == built.name
    (bucket / "snapshots" / "current").write_text("20270101T000000-none")
    mirror.pull()
    assert mirror.failure is not None and "20270101T000000-none" in mirror.failure
    assert current_snapshot(paths.snapshots) == served


def test_without_a_storage_there_is_no_mirror(tmp_path: Path) -> None:
    assert start_mirror(HomePaths(tmp_path), None) is None
