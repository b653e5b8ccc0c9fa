"""`portrait search synonyms` over a home with a snapshot and an index."""

import json
from pathlib import Path

import pytest
from search_shop import build_index, build_snapshot
from typer.testing import CliRunner

from services.cli.main import build_app
from services.core.errors import ConfigurationError
from services.core.settings import get_settings
from services.core.storage import ObjectStorage
from services.features.snapshot import current_snapshot
from services.features.snapshot_storage import push_snapshot
from services.features.stored_versions import push_version
from services.search.search_storage import INDEXES, stored_synonyms
from services.search.synonym_mining import Proposal
from services.search.synonym_proposals import write_proposals


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build_app(), ["search", "synonyms", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_accepted_is_listed_and_no_longer_waits(home: Path) -> None:
    write_proposals(home / "search", [Proposal("couch", "sofa", "neighbours", 0.9, (9, 8), 0)])
    assert json.loads(run("list", "--json"))["proposals"][0]["first"] == "couch"
    run("accept", "sofa", "couch")
    assert json.loads(run("list", "--json")) == {"groups": [["sofa", "couch"]], "oneway": {}, "proposals": []}
    assert "sofa, couch" in run("list")


def test_proposals_come_from_the_published_snapshot_and_index(home: Path) -> None:
    build_snapshot(home / "snapshots")
    build_index(home / "search")
    assert json.loads(run("propose", "--json")) == []  # eleven items say too little for a proposal
    assert json.loads(run("list", "--json"))["proposals"] == []


@pytest.fixture
def bucket(home: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    storage = ObjectStorage((home / "bucket").as_uri())
    monkeypatch.setenv("PORTRAIT_STORAGE_URL", storage.url)
    get_settings.cache_clear()
    return storage


def test_hosts_that_share_no_home_accept_into_one_file(home: Path, bucket: ObjectStorage) -> None:
    (home / "search").mkdir()
    (home / "search" / "synonyms.toml").write_text('groups = [["mine", "own"]]')
    (home / "theirs.toml").write_text('groups = [["ac", "air conditioner"]]')
    run("publish", str(home / "theirs.toml"))
    assert json.loads(run("list", "--json"))["groups"] == [["ac", "air conditioner"]]
    assert "mine" in (home / "search" / "synonyms.toml").read_text()
    write_proposals(home / "search", [Proposal("couch", "sofa", "neighbours", 0.9, (9, 8), 0)])
    run("accept", "couch", "sofa")
    stored = stored_synonyms(bucket)
    assert stored is not None and stored.groups == (("ac", "air conditioner"), ("couch", "sofa"))
    assert "mine" in (home / "search" / "synonyms.toml.replaced").read_text()


def test_what_a_person_wrote_into_this_home_is_published(home: Path, bucket: ObjectStorage) -> None:
    (home / "search").mkdir()
    (home / "search" / "synonyms.toml").write_text('groups = [["mine", "own"]]')
    assert "1 groups" in run("publish")
    assert stored_synonyms(bucket).groups == (("mine", "own"),)


def test_proposals_come_from_what_the_storage_has(home: Path, bucket: ObjectStorage) -> None:
    build_snapshot(home / "worker" / "snapshots")
    index = build_index(home / "worker" / "search")
    push_snapshot(current_snapshot(home / "worker" / "snapshots"), bucket)
    push_version(INDEXES, index.folder, bucket)
    assert json.loads(run("propose", "--json")) == []


def test_without_a_storage_nothing_is_published(home: Path) -> None:
    result = CliRunner().invoke(build_app(), ["search", "synonyms", "publish"])
    assert isinstance(result.exception, ConfigurationError) and "PORTRAIT_STORAGE_URL" in result.exception.detail
