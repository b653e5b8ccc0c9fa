"""`portrait search synonyms` over a home with a snapshot and an index."""

import json
from pathlib import Path

import pytest
from search_shop import build_index, build_snapshot
from typer.testing import CliRunner

from services.cli.main import build_app
from services.core.settings import get_settings
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
