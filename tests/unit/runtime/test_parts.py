"""The table of parts, and what a part's environment and command line are."""

import signal
from pathlib import Path

import pytest

from services.core.settings import Settings
from services.runtime.parts import PARTS, Part, PartKind, environment_of
from services.runtime.processes import HOME_MARKER, PART_MARKER


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, database_url="postgresql://u:secret@db/portrait")


def test_every_part_has_a_name_of_its_own() -> None:
    names = [part.name for part in PARTS]
    assert len(names) == len(set(names))


def test_every_queue_has_a_worker_and_one_part_serves_http() -> None:
    names = {part.name for part in PARTS}
    assert {"worker-gpu", "worker-cpu", "worker-live", "worker-io", "beat"} <= names
    assert [part.name for part in PARTS if part.serves_http] == ["gateway"]


def test_migrations_run_before_features_are_applied() -> None:
    assert [part.name for part in PARTS if part.kind is PartKind.STEP] == ["migrations", "features"]


def test_stopping_a_part_takes_less_than_the_bound_of_down() -> None:
    assert max(sum(seconds for _, seconds in part.stop) for part in PARTS) <= 7.0
    assert all(part.stop[0][0] is signal.SIGTERM for part in PARTS)


def test_the_current_folder_is_not_on_the_import_path_of_a_part(tmp_path: Path) -> None:
    part = Part("beat", PartKind.SERVICE, ("-m", "x", "--schedule", "{home}/run/beat"), "services")
    assert part.command(tmp_path)[1:] == ["-P", "-m", "x", "--schedule", f"{tmp_path}/run/beat"]


def test_a_part_whose_module_is_missing_does_not_exist() -> None:
    assert not Part("a", PartKind.SERVICE, (), "services.no_such_module").exists
    assert not Part("a", PartKind.SERVICE, (), "no_such_package.module").exists
    assert Part("a", PartKind.SERVICE, (), "services.runtime.parts").exists


def test_the_environment_carries_settled_settings_and_the_marks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", "relative/home")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    part = Part("io", PartKind.SERVICE, (), "services", environment={"OMP_NUM_THREADS": "1"})
    environment = environment_of(part, settings, port=8123)
    assert environment["PORTRAIT_HOME"] == environment[HOME_MARKER] == str(settings.home)
    assert environment["PORTRAIT_PORT"] == "8123"
    assert environment["PORTRAIT_DATABASE_URL"] == "postgresql://u:secret@db/portrait"
    assert "PORTRAIT_REDIS_URL" not in environment
    assert environment[PART_MARKER] == "io"
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_background_workers_give_way_to_the_gateway() -> None:
    niceness = {part.name: part.niceness for part in PARTS}
    assert niceness["gateway"] == 0
    assert all(niceness[f"worker-{queue}"] > 0 for queue in ("gpu", "cpu", "io"))
