"""`portrait evaluate search --retrieval` from a file to its JSON, on a shop of a few products."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from services.cli import search_data
from services.cli.main import build_app
from services.core.settings import get_settings


def test_every_way_to_retrieve_is_measured_and_search_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path))
    get_settings.cache_clear()
    titles = {f"{kind}-{thing}": f"{kind} {thing}" for kind in ("brass", "oak", "blue") for thing in ("lamp", "desk")}
    rows = np.random.default_rng(0).normal(size=(len(titles), 8))
    unit = dict(zip(titles.values(), rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True))
    vectors = np.array([unit[title] for _, title in sorted(titles.items())], np.float32)
    monkeypatch.setattr(search_data, "text_vectors", lambda items, settings: (vectors, "space"))
    monkeypatch.setattr(
        search_data, "query_vectors", lambda queries, settings: np.array([unit[q] for q in queries], np.float32)
    )
    lines = ["query,item_id,title,grade"]
    for item, title in titles.items():
        lines += [f"{title},{item},{title},3", f"{title},oak-lamp,oak lamp,1"]
    (tmp_path / "judged.csv").write_text("\n".join(lines))
    out = tmp_path / "out.json"
    asked = ["evaluate", "search", "--judgements", str(tmp_path / "judged.csv"), "--retrieval", "--json", str(out)]
    done = CliRunner().invoke(build_app(), asked, catch_exceptions=False)
    get_settings.cache_clear()
    assert done.exit_code == 0, done.output
    document = json.loads(out.read_text())
    assert [model["name"] for model in document["models"]] == ["bm25", "dense", "words", "fusion", "search"]
    found = {model["name"]: model["metrics"]["recall@100"]["mean"] for model in document["models"]}
    assert found["search"] == found["words"] == found["bm25"] == found["dense"] == 1.0
    assert len(document["differences"]) == 4
